// What this CPU offers and which instruction set the kernels use.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace edgec {

struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false, avxvnni = false;
  bool avx512f = false, avx512bw = false, avx512dq = false, avx512vl = false, avx512vnni = false,
       avx512bf16 = false;
  bool neon = false, fp16 = false, dotprod = false, i8mm = false;
};

// The list, best last, is written once in cmake/isa.cmake; isa_list.inc is generated from it in the
// build folder: EDGEC_ISA_ROW(name, parent, cpu_test, stored_i8).
enum class Isa : int {
#define EDGEC_ISA_ROW(name, ...) name,
#include "isa_list.inc"
#undef EDGEC_ISA_ROW
};
inline constexpr int kIsaCount = 0
#define EDGEC_ISA_ROW(name, ...) +1
#include "isa_list.inc"
#undef EDGEC_ISA_ROW
    ;

const CpuFeatures& cpu_features();
const char* isa_name(Isa isa);
bool isa_supported(Isa isa);  // by this CPU
// The ISA whose kernels stand in where a family has none for this one; scalar's parent is scalar.
Isa isa_parent(Isa isa);
// i8 activations between operators are stored as u8 = i8 + 128 (TensorType::excess128).
bool isa_stores_excess128(Isa isa);
// The best supported one, or the one that EDGEC_ISA=<name> asks for. An unknown or unsupported name
// in EDGEC_ISA is reported once on stderr and ignored.
Isa best_isa();

int usable_cpus();  // CPUs this process may run on: affinity mask and cgroup quota
struct CacheSizes {
  size_t l1d, l2, l3;  // bytes; l3 is what one core may expect
};
const CacheSizes& cache_sizes();

// Looks up table[isa], then table[parent(isa)]...; families fill only the ISAs they are built for.
template <class Table>
const Table* find_kernels(const Table* const (&tables)[kIsaCount], Isa isa) {
  while (tables[static_cast<int>(isa)] == nullptr && isa != isa_parent(isa)) isa = isa_parent(isa);
  return tables[static_cast<int>(isa)];
}

}  // namespace edgec
