// META and GOLD: what a model carries beside its graph.
#include <algorithm>
#include <cinttypes>
#include <string_view>

#include "format/graph_reader.h"

namespace edgec {
namespace {

Status read_golden_tensor(Cursor& cursor, const std::byte* section, uint64_t section_offset,
                          GoldenTensor* out) {
  EDGEC_TRY(cursor.name("tensor name", &out->name));
  EDGEC_TRY(read_type(cursor, 0, &out->dtype, &out->shape));
  const uint64_t at = cursor.offset();
  uint64_t bytes = 0;
  EDGEC_TRY(cursor.read("tensor bytes", &bytes));
  const TensorType type{out->dtype, out->shape, nullptr};
  if (bytes != type.bytes()) {
    return cursor.fail(StatusCode::kBadFile, "tensor bytes", at, "is %" PRIu64 ", but %s has %zu", bytes,
                       type.to_string().c_str(), type.bytes());
  }
  out->data = section + (cursor.offset() - section_offset);
  out->bytes = static_cast<size_t>(bytes);
  return cursor.skip("tensor data", bytes);
}

Status read_golden_tensors(Cursor& cursor, const char* field, const std::byte* section,
                           uint64_t section_offset, std::vector<GoldenTensor>* out) {
  uint32_t count = 0;
  EDGEC_TRY(cursor.count(field, 4 + 1 + 1 + 8, &count));
  for (uint32_t i = 0; i < count; ++i) {
    EDGEC_TRY(read_golden_tensor(cursor, section, section_offset, &out->emplace_back()));
  }
  return ok_status();
}

}  // namespace

Status read_metadata_section(Cursor cursor, Model* model) {
  uint32_t count = 0;
  EDGEC_TRY(cursor.count("entry count", 4 + 4, &count));
  for (uint32_t i = 0; i < count; ++i) {
    auto& [key, value] = model->metadata.emplace_back();
    EDGEC_TRY(cursor.name("key", &key));
    EDGEC_TRY(cursor.text("value", Text::kValue, kMaxMetadataValueBytes, &value));
  }
  std::vector<std::string_view> keys;
  keys.reserve(model->metadata.size());
  for (const auto& entry : model->metadata) keys.push_back(entry.first);
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end()) {
    return error(StatusCode::kBadFile, "META: key '%s' occurs twice", std::string(*twice).c_str());
  }
  return cursor.finish();
}

Status read_golden_section(Cursor cursor, const std::byte* data, Model* model) {
  const uint64_t start = cursor.offset();
  uint32_t samples = 0;
  EDGEC_TRY(cursor.count("sample count", 3 * 4, &samples));
  for (uint32_t i = 0; i < samples; ++i) {
    GoldenSample& sample = model->golden.emplace_back();
    EDGEC_TRY(read_golden_tensors(cursor, "input count", data, start, &sample.inputs));
    EDGEC_TRY(read_golden_tensors(cursor, "output count", data, start, &sample.outputs));
    uint32_t digests = 0;
    EDGEC_TRY(cursor.count("digest count", 4 + 8, &digests));
    for (uint32_t k = 0; k < digests; ++k) {
      auto& [name, digest] = sample.digests.emplace_back();
      EDGEC_TRY(cursor.name("digest name", &name));
      EDGEC_TRY(cursor.read("digest", &digest));
    }
  }
  return cursor.finish();
}

}  // namespace edgec
