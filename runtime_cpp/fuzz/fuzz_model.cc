// Load, prepare with a memory limit, run: whatever the bytes are, no crash, no unbounded memory.
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "core/session.h"
#include "format/model.h"
#include "fuzz/mutate.h"

namespace {

constexpr size_t kMemoryLimit = size_t{4} << 20;

void exercise(const uint8_t* data, size_t size) {
  std::shared_ptr<const edgec::Model> model;
  edgec::LoadOptions load;
  load.verify_weights = (size & 1) != 0;
  if (!edgec::Model::from_memory(data, size, true, load, &model).ok()) return;
  edgec::SessionOptions options;
  options.max_memory = kMemoryLimit;
  options.threads = 1;
  // The kernels of every instruction set of this machine take turns, chosen by the bytes so that it repeats.
  options.isa = static_cast<edgec::Isa>((size / 2) % edgec::kIsaCount);
  if (!edgec::isa_supported(options.isa)) options.isa = edgec::best_isa();
  std::unique_ptr<edgec::Session> session;
  if (!edgec::Session::create(model, options, &session).ok()) return;
  for (int i = 0; i < session->input_count(); ++i) {
    const size_t bytes = session->input_type(i).bytes();
    if (bytes > kMemoryLimit) return;
    void* input = session->input_data(i);
    if (input == nullptr) return;
    // Bytes of the file as values: NaN, infinities and indices out of range among them.
    auto* p = static_cast<uint8_t*>(input);
    for (size_t k = 0; k < bytes; ++k) p[k] = data[(k * 7 + static_cast<size_t>(i)) % size];
  }
  if (model->graphs.size() == 1) {
    (void)session->run();
    return;
  }
  // A loop of 2^62 iterations is valid; what ends it is a cancel.
  std::atomic<bool> done{false};
  std::thread watchdog([&] {
    for (int i = 0; !done; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (i > 500) session->cancel();
    }
  });
  (void)session->run();
  done = true;
  watchdog.join();
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  exercise(data, size);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  // One in eight without knowledge of the format, for the frame itself.
  if (seed % 8 == 0 || !edgec::fuzz::mutate_fields(data, size, seed)) {
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 16 == 0) edgec::fuzz::seal(data, size);
  }
  return size;
}
