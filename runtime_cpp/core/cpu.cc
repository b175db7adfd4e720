#include "core/cpu.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <sys/auxv.h>
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace edgec {
namespace {

#if defined(__x86_64__) || defined(__i386__)
uint64_t enabled_register_state() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

CpuFeatures detect() {
  CpuFeatures f;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  const bool osxsave = (c >> 27) & 1;
  if (!osxsave) return f;
  // The operating system must save ymm (bits 1, 2) and, for AVX-512, opmask and zmm (bits 5 to 7).
  const uint64_t state = enabled_register_state();
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
  f.fma = ymm && ((c >> 12) & 1);
  f.f16c = ymm && ((c >> 29) & 1);
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
  f.avx2 = ymm && ((b >> 5) & 1);
  f.avx512f = zmm && ((b >> 16) & 1);
  f.avx512dq = zmm && ((b >> 17) & 1);
  f.avx512bw = zmm && ((b >> 30) & 1);
  f.avx512vl = zmm && ((b >> 31) & 1);
  f.avx512vnni = zmm && ((c >> 11) & 1);
  const unsigned subleaves = a;
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    f.avxvnni = ymm && ((a >> 4) & 1);
    f.avx512bf16 = zmm && ((a >> 5) & 1);
  }
  return f;
}
#elif defined(__aarch64__) && defined(__linux__)
CpuFeatures detect() {
  // Bit numbers of the kernel's uapi asm/hwcap.h for arm64; the header may be older than the CPU.
  const unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
  CpuFeatures f;
  f.neon = true;
  f.fp16 = (hwcap >> 10) & 1;     // HWCAP_ASIMDHP
  f.dotprod = (hwcap >> 20) & 1;  // HWCAP_ASIMDDP
  f.i8mm = (hwcap2 >> 13) & 1;    // HWCAP2_I8MM
  return f;
}
#elif defined(__arm__) && defined(__linux__)
CpuFeatures detect() {
  CpuFeatures f;
  f.neon = (getauxval(AT_HWCAP) >> 12) & 1;  // HWCAP_NEON
  return f;
}
#else
CpuFeatures detect() { return CpuFeatures(); }
#endif

struct IsaRow {
  const char* name;
  Isa parent;
  bool (*test)(const CpuFeatures& f);
  const char* stored_i8;
};
const IsaRow kIsaRows[kIsaCount] = {
#define EDGEC_ISA_ROW(name, parent, cpu_test, stored_i8) \
  {#name, Isa::parent,                                   \
   [](const CpuFeatures& f) {                            \
     (void)f;                                            \
     return cpu_test;                                    \
   },                                                    \
   #stored_i8},
#include "isa_list.inc"
#undef EDGEC_ISA_ROW
};

Isa choose_isa() {
  Isa best = Isa::scalar;
  for (int i = 0; i < kIsaCount; ++i)
    if (isa_supported(static_cast<Isa>(i))) best = static_cast<Isa>(i);
  const char* wanted = std::getenv("EDGEC_ISA");
  if (wanted == nullptr || *wanted == '\0') return best;
  for (int i = 0; i < kIsaCount; ++i) {
    if (std::strcmp(kIsaRows[i].name, wanted) != 0) continue;
    if (isa_supported(static_cast<Isa>(i))) return static_cast<Isa>(i);
    std::fprintf(stderr, "edgec: this CPU does not support EDGEC_ISA=%s, using %s\n", wanted, isa_name(best));
    return best;
  }
  std::fprintf(stderr, "edgec: unknown EDGEC_ISA=%s, using %s\n", wanted, isa_name(best));
  return best;
}

#if defined(__linux__)
bool read_line(const char* path, char* line, int size) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return false;
  const bool got = std::fgets(line, size, file) != nullptr;
  std::fclose(file);
  return got;
}

// CPUs granted by the cgroup quota (version 2, then 1), rounded up; 0 = no quota.
int quota_cpus() {
  char line[128];
  if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line)) {
    long long quota = 0, period = 0;
    if (std::sscanf(line, "%lld %lld", &quota, &period) == 2 && period > 0)
      return static_cast<int>((quota + period - 1) / period);
    return 0;
  }
  long long quota = -1, period = 0;
  if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line)) quota = std::atoll(line);
  if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof line)) period = std::atoll(line);
  return quota > 0 && period > 0 ? static_cast<int>((quota + period - 1) / period) : 0;
}

size_t cache_size_from_sysfs(int level) {
  for (int index = 0; index < 8; ++index) {
    char path[96], line[64];
    const auto read_field = [&](const char* field) {
      std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, field);
      return read_line(path, line, sizeof line);
    };
    if (!read_field("level") || std::atoi(line) != level) continue;
    if (!read_field("type") || line[0] == 'I') continue;
    if (!read_field("size")) continue;
    const size_t size = static_cast<size_t>(std::atoll(line));
    return size * (std::strchr(line, 'K') ? 1024 : std::strchr(line, 'M') ? 1024 * 1024 : 1);
  }
  return 0;
}
#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

const char* isa_name(Isa isa) { return kIsaRows[static_cast<int>(isa)].name; }
bool isa_supported(Isa isa) { return kIsaRows[static_cast<int>(isa)].test(cpu_features()); }
Isa isa_parent(Isa isa) { return kIsaRows[static_cast<int>(isa)].parent; }
bool isa_stores_excess128(Isa isa) { return kIsaRows[static_cast<int>(isa)].stored_i8[0] == 'u'; }

Isa best_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

int usable_cpus() {
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  const int quota = quota_cpus();
  if (quota > 0 && quota < cpus) cpus = quota;
#endif
  return cpus > 0 ? cpus : 1;
}

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = [] {
    // A Cortex-A53 class board when the system does not say.
    CacheSizes s{32 * 1024, 512 * 1024, 512 * 1024};
#if defined(__linux__)
    if (const size_t l1 = cache_size_from_sysfs(1)) s.l1d = l1;
    if (const size_t l2 = cache_size_from_sysfs(2)) s.l2 = s.l3 = l2;
    if (const size_t l3 = cache_size_from_sysfs(3)) s.l3 = l3;
#endif
    return s;
  }();
  return sizes;
}

}  // namespace edgec
