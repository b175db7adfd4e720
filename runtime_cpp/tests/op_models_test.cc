// Every operator with hostile attributes, shapes and values: a clean error or a run, never a crash and never
// an access out of bounds. The fuzzer does the same for longer. Attack cases 16, 17 and 23 of
// docs/format.md.
#include "support/op_models.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "core/session.h"
#include "fuzz/mutate.h"
#include "harness.h"

namespace edgec::test {
namespace {

constexpr size_t kMemoryLimit = size_t{1} << 20;

// `pattern` fills the inputs: 0 zeros, 0xFF NaN and -1, else bytes of its own.
Status exercise(const uint8_t* data, size_t size, int pattern, int threads = 1) {
  std::shared_ptr<const Model> model;
  EDGEC_TRY(Model::from_memory(data, size, true, LoadOptions{}, &model));
  SessionOptions options;
  options.max_memory = kMemoryLimit;
  options.threads = threads;
  std::unique_ptr<Session> session;
  EDGEC_TRY(Session::create(model, options, &session));
  for (int i = 0; i < session->input_count(); ++i) {
    const size_t bytes = session->input_type(i).bytes();
    if (bytes > kMemoryLimit) return error(StatusCode::kOutOfMemory, "large input");
    void* input = session->input_data(i);
    if (input == nullptr) return error(StatusCode::kOutOfMemory, "input");
    std::memset(input, pattern, bytes);
  }
  // A loop of 2^62 iterations is valid; what ends it is a cancel.
  const bool may_loop = model->graphs.size() > 1;
  std::atomic<bool> done{false};
  std::thread watchdog;
  if (may_loop) {
    watchdog = std::thread([&] {
      for (int i = 0; !done; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (i > 200) session->cancel();
      }
    });
  }
  Status status;
  try {
    status = session->run();
  } catch (const std::bad_alloc&) {
    done = true;
    if (may_loop) watchdog.join();
    throw;
  }
  done = true;
  if (may_loop) watchdog.join();
  return status;
}

// A file that gets past max_memory meets this limit instead of the machine's; sanitizers reserve terabytes.
void limit_memory() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return;
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return;
#endif
#endif
  struct rlimit limit = {rlim_t{2} << 30, rlim_t{2} << 30};
  (void)setrlimit(RLIMIT_AS, &limit);
}

// "graph0.tensor1.dim0 = 9": what a mutation did, for the one who has to find out why.
std::string changes(const EdgeBytes& before, const std::vector<uint8_t>& after) {
  std::string text;
  for (const EdgeBytes::Field& field : before.fields) {
    if (field.path.compare(0, 7, "header.") == 0 || field.path.compare(0, 8, "section.") == 0 ||
        field.width > 8)
      continue;
    if (std::memcmp(before.data() + field.offset, after.data() + field.offset, field.width) == 0) continue;
    uint64_t value = 0;
    std::memcpy(&value, after.data() + field.offset, field.width);
    text += (text.empty() ? "" : ", ") + field.path + " = " + std::to_string(value);
  }
  for (size_t i = before.weights_offset(); i + 8 <= after.size(); i += 8) {
    if (std::memcmp(before.data() + i, after.data() + i, 8) == 0) continue;
    uint64_t value = 0;
    std::memcpy(&value, after.data() + i, 8);
    text += (text.empty() ? "" : ", ") + ("weights[" + std::to_string(i - before.weights_offset()) + "] = ") +
            std::to_string(value);
  }
  return text;
}

TEST(every_operator_has_a_model) {
  const std::vector<OpModel> models = op_models();
  for (const auto& op : Registry::instance().all()) {
    const bool found = std::any_of(models.begin(), models.end(), [&](const OpModel& m) {
      return m.name == op->name || m.name.compare(0, op->name.size() + 1, op->name + " ") == 0;
    });
    if (!found)
      fail(__FILE__, __LINE__, "no model of %s prepares; add one to support/op_models.cc", op->name.c_str());
  }
}

TEST(every_operator_runs) {
  for (const OpModel& model : op_models()) {
    const Status status = exercise(model.file.data(), model.file.size(), 0);
    if (!status.ok()) fail(__FILE__, __LINE__, "%s: %s", model.name.c_str(), status.message());
  }
}

// NaN, minus one, and indices far out of range: refused or computed, at once.
TEST(attack_23_hostile_values) {
  for (const OpModel& model : op_models()) {
    for (int pattern : {0xFF, 0x7F, 0x80, 0x01})
      (void)exercise(model.file.data(), model.file.size(), pattern);
  }
}

TEST(attacks_16_17_hostile_fields) {
  limit_memory();
  const char* wanted = std::getenv("EDGEC_TEST_ROUNDS");
  const uint64_t rounds = wanted ? std::strtoull(wanted, nullptr, 0) : 300;
  const std::vector<OpModel> models = op_models();
  int accepted = 0;
  for (const OpModel& model : models) {
    for (uint64_t round = 0; round < rounds; ++round) {
      std::vector<uint8_t> bytes = model.file.bytes;
      if (!fuzz::mutate_fields(bytes.data(), bytes.size(), seed() * 1000003 + round)) {
        fail(__FILE__, __LINE__, "%s: no fields found", model.name.c_str());
        break;
      }
      const auto begin = std::chrono::steady_clock::now();
      try {
        accepted += exercise(bytes.data(), bytes.size(), static_cast<int>(round % 3)).ok();
      } catch (const std::bad_alloc&) {
        // The limit of the session, a thousand times smaller than that of the process, should have come
        // first.
        fail(__FILE__, __LINE__, "%s, round %" PRIu64 ": more memory than max_memory: %s", model.name.c_str(),
             round, changes(model.file, bytes).c_str());
      }
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      // Not a failure: a slow machine must not make a test red.
      if (seconds > 0.5) {
        std::printf("  %s, round %" PRIu64 ": %.1f s: %s\n", model.name.c_str(), round, seconds,
                    changes(model.file, bytes).c_str());
      }
    }
  }
  std::printf("  %zu models, %d of %zu damaged ones run\n", models.size(), accepted, models.size() * rounds);
}

}  // namespace
}  // namespace edgec::test
