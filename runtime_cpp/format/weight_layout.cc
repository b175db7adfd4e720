// Where constants lie in WGHT: aligned, inside, and sharing bytes only as a whole.
#include <algorithm>
#include <cinttypes>

#include "format/graph_reader.h"

namespace edgec {

Status check_weight_layout(const WeightSection& weights, bool verify_gaps, Model* model) {
  std::vector<const TensorInfo*> constants;
  size_t count = 0;
  for (const Graph& graph : model->graphs) count += graph.tensors.size();
  constants.reserve(count);
  bool sorted = true;
  for (const Graph& graph : model->graphs) {
    for (const TensorInfo& tensor : graph.tensors) {
      if (tensor.kind != TensorKind::kConstant || tensor.bytes == 0) continue;
      sorted = sorted && (constants.empty() || constants.back()->data <= tensor.data);
      constants.push_back(&tensor);
    }
  }
  if (!sorted) {
    std::sort(constants.begin(), constants.end(),
              [](const TensorInfo* a, const TensorInfo* b) { return a->data < b->data; });
  }
  const auto offset_of = [&](const std::byte* p) { return static_cast<uint64_t>(p - weights.data); };
  const std::byte* end = weights.data;
  const TensorInfo* previous = nullptr;
  const auto check_gap = [&](const std::byte* until) {
    if (!verify_gaps) return ok_status();
    const std::byte* nonzero = std::find_if(end, until, [](std::byte b) { return b != std::byte{0}; });
    if (nonzero == until) return ok_status();
    return error(StatusCode::kBadFile, "WGHT: byte %" PRIu64 " belongs to no constant and is not zero",
                 offset_of(nonzero));
  };
  for (const TensorInfo* tensor : constants) {
    if (tensor->data < end) {
      // Partial overlap is only ever damage or an attack; equal ranges are one weight used twice.
      if (tensor->data == previous->data && tensor->bytes == previous->bytes) continue;
      return error(StatusCode::kBadFile,
                   "WGHT: constants '%s' (%zu bytes at %" PRIu64 ") and '%s' (%zu bytes at %" PRIu64
                   ") overlap",
                   previous->name.c_str(), previous->bytes, offset_of(previous->data), tensor->name.c_str(),
                   tensor->bytes, offset_of(tensor->data));
    }
    EDGEC_TRY(check_gap(tensor->data));
    end = tensor->data + tensor->bytes;
    previous = tensor;
  }
  return check_gap(weights.data + weights.size);
}

}  // namespace edgec
