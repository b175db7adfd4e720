// The frame of a file: header, section table, checksums. What is inside the sections: graph_reader.cc,
// side_sections.cc.
#include <array>
#include <cinttypes>
#include <cstring>

#include "format/crc32.h"
#include "format/cursor.h"
#include "format/graph_reader.h"
#include "format/model.h"
#include "format/storage.h"

namespace edgec {
namespace {

constexpr size_t kHeaderBytes = 64;
constexpr size_t kTableEntryBytes = 32;
constexpr size_t kChecksumOffset = 20;
constexpr int kMajor = 1, kMinor = 0;
constexpr uint32_t kEndianMark = 0x01020304;
constexpr uint32_t kMinSections = 2, kMaxSections = 16;
constexpr uint64_t kSectionAlignment = 64, kWeightAlignment = 4096;
constexpr unsigned char kMagic[8] = {0x89, 'E', 'D', 'G', 'E', '\r', '\n', 0x1A};

bool starts_with(const std::byte* data, size_t size, size_t offset, const char* bytes, size_t count) {
  return size >= offset + count && std::memcmp(data + offset, bytes, count) == 0;
}

// What a file without our magic probably is, because "bad magic" helps nobody.
const char* foreign_file(const std::byte* data, size_t size) {
  if (starts_with(data, size, 1, "EDGE", 4)) {
    return "an .edge file that a text-mode transfer damaged; copy it again in binary mode";
  }
  if (starts_with(data, size, 0, "PK\x03\x04", 4)) {
    return "a zip archive (a PyTorch .pt, .pt2 or a .keras file?); run `edgec convert` on it first";
  }
  if (starts_with(data, size, 4, "TFL3", 4)) return "a TFLite model; run `edgec convert` on it first";
  if (starts_with(data, size, 0, "\x89HDF", 4))
    return "an HDF5 file (Keras .h5?); run `edgec convert` on it first";
  if (starts_with(data, size, 0, "\x08", 1))
    return "an ONNX model, by its first byte; run `edgec convert` on it first";
  if (starts_with(data, size, 0, "\x80\x02", 2)) return "a Python pickle; run `edgec convert` on it first";
  if (starts_with(data, size, 0, "\x1F\x8B", 2)) return "gzip-compressed; unpack it first";
  if (starts_with(data, size, 0, "version https://git-lfs", 23))
    return "a Git LFS pointer; run `git lfs pull` first";
  return "no .edge file";
}

struct TableEntry {
  char kind[5] = {};
  uint32_t checksum = 0;
  uint64_t offset = 0, size = 0;
  bool is(const char* name) const { return std::memcmp(kind, name, 4) == 0; }
};

struct Frame {
  std::array<TableEntry, kMaxSections> entries;
  uint32_t count = 0;
  const TableEntry* find(const char* kind) const {
    for (uint32_t i = 0; i < count; ++i) {
      if (entries[i].is(kind)) return &entries[i];
    }
    return nullptr;
  }
};

bool all_zero(const std::byte* data, uint64_t size) {
  uint64_t seen = 0;
  for (; size >= 8; data += 8, size -= 8) seen |= load_little_endian<uint64_t>(data);
  for (; size > 0; ++data, --size) seen |= static_cast<uint64_t>(*data);
  return seen == 0;
}

Status read_header(const std::byte* data, size_t size, Model* model, Frame* frame) {
  if (size == 0) return error(StatusCode::kBadFile, "the file is empty");
  if (size < sizeof(kMagic) || std::memcmp(data, kMagic, sizeof(kMagic)) != 0) {
    return error(StatusCode::kBadFile, "offset 0, magic: this is %s", foreign_file(data, size));
  }
  Cursor cursor(data, size, 0, "header");
  EDGEC_TRY(cursor.skip("magic", sizeof(kMagic)));
  uint16_t major = 0, minor = 0;
  uint32_t mark = 0;
  EDGEC_TRY(cursor.read("major version", &major));
  EDGEC_TRY(cursor.read("minor version", &minor));
  EDGEC_TRY(cursor.read("endianness mark", &mark));
  if (mark != kEndianMark) {
    return cursor.fail(StatusCode::kBadFile, "endianness mark", 12,
                       "is 0x%08" PRIX32 ", expected 0x%08" PRIX32, mark, kEndianMark);
  }
  if (major != kMajor) {
    return cursor.fail(
        StatusCode::kVersion, "major version", 8,
        "the file has format %d.%d and needs a runtime that reads format %d; this is edgec %s, which "
        "reads format %d.%d. %s",
        major, minor, major, runtime_version(), kMajor, kMinor,
        major > kMajor ? "Update edgec on this machine or convert the model with its version"
                       : "Convert the model again");
  }
  model->format_major = major;
  model->format_minor = minor;

  uint32_t checksum = 0;
  uint64_t file_size = 0;
  EDGEC_TRY(cursor.read("section count", &frame->count));
  EDGEC_TRY(cursor.read("header checksum", &checksum));
  EDGEC_TRY(cursor.read("file size", &file_size));
  if (file_size != size) {
    return cursor.fail(StatusCode::kBadFile, "file size", 24,
                       "says %" PRIu64 " bytes, the file has %zu: it %s", file_size, size,
                       file_size > size ? "is truncated" : "has foreign bytes at its end");
  }
  if (frame->count < kMinSections || frame->count > kMaxSections) {
    return cursor.fail(StatusCode::kBadFile, "section count", 16,
                       "is %" PRIu32 ", expected %" PRIu32 " to %" PRIu32, frame->count, kMinSections,
                       kMaxSections);
  }
  const size_t covered = kHeaderBytes + frame->count * kTableEntryBytes;
  if (size < covered) {
    return cursor.fail(StatusCode::kBadFile, "section count", 16,
                       "%" PRIu32 " sections need a table up to offset %zu, the file ends at %zu",
                       frame->count, covered, size);
  }
  const unsigned char zeros[4] = {};
  uint32_t actual = crc32(0, data, kChecksumOffset);
  actual = crc32(actual, zeros, sizeof(zeros));
  actual = crc32(actual, data + kChecksumOffset + 4, covered - kChecksumOffset - 4);
  if (actual != checksum) {
    return cursor.fail(StatusCode::kBadFile, "header checksum", kChecksumOffset,
                       "is 0x%08" PRIX32 ", the bytes give 0x%08" PRIX32 "; the header is damaged", checksum,
                       actual);
  }
  if (!all_zero(data + 32, kHeaderBytes - 32)) {
    return cursor.fail(StatusCode::kBadFile, "reserved bytes", 32, "are not zero");
  }
  return ok_status();
}

Status check_kind(const Cursor& cursor, uint64_t at, const TableEntry& entry, const Model& model) {
  for (int i = 0; i < 4; ++i) {
    const char c = entry.kind[i];
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (!letter && (i == 0 || c < '0' || c > '9')) {
      return cursor.fail(StatusCode::kBadFile, "section kind", at, "is not four letters or digits");
    }
  }
  if (entry.is("GRPH") || entry.is("WGHT") || entry.is("META") || entry.is("GOLD")) return ok_status();
  if (entry.kind[0] >= 'a') return ok_status();  // optional by definition
  if (entry.is("SIGN")) {
    return cursor.fail(StatusCode::kSignature, "section kind", at,
                       "the model is signed and edgec %s cannot check signatures; use a newer runtime",
                       runtime_version());
  }
  return cursor.fail(
      StatusCode::kVersion, "section kind", at,
      "section '%s' is required by this file (format %d.%d) and unknown to edgec %s (format %d.%d); "
      "update edgec",
      entry.kind, model.format_major, model.format_minor, runtime_version(), kMajor, kMinor);
}

Status read_section_table(const std::byte* data, size_t size, Model* model, Frame* frame) {
  Cursor cursor(data + kHeaderBytes, frame->count * kTableEntryBytes, kHeaderBytes, "section table");
  uint64_t previous_end = kHeaderBytes + frame->count * kTableEntryBytes;
  for (uint32_t i = 0; i < frame->count; ++i) {
    TableEntry& entry = frame->entries[i];
    const uint64_t at = cursor.offset();
    uint64_t reserved = 0, end = 0;
    for (int k = 0; k < 4; ++k) EDGEC_TRY(cursor.read("section kind", &entry.kind[k]));
    EDGEC_TRY(cursor.read("section checksum", &entry.checksum));
    EDGEC_TRY(cursor.read("section offset", &entry.offset));
    EDGEC_TRY(cursor.read("section size", &entry.size));
    EDGEC_TRY(cursor.read("reserved", &reserved));
    EDGEC_TRY(check_kind(cursor, at, entry, *model));
    if (reserved != 0) return cursor.fail(StatusCode::kBadFile, "reserved", at + 24, "is not zero");
    for (uint32_t k = 0; k < i; ++k) {
      if (frame->entries[k].is(entry.kind)) {
        return cursor.fail(StatusCode::kBadFile, "section kind", at, "a second section '%s'", entry.kind);
      }
    }
    if (!checked_add(entry.offset, entry.size, &end) || end > size) {
      return cursor.fail(StatusCode::kBadFile, "section offset", at + 8,
                         "'%s' covers %" PRIu64 " bytes from offset %" PRIu64 ", the file has %zu",
                         entry.kind, entry.size, entry.offset, size);
    }
    const uint64_t alignment = entry.is("WGHT") ? kWeightAlignment : kSectionAlignment;
    if (entry.offset % alignment != 0) {
      return cursor.fail(StatusCode::kBadFile, "section offset", at + 8,
                         "'%s' starts at %" PRIu64 ", not at a multiple of %" PRIu64, entry.kind,
                         entry.offset, alignment);
    }
    if (entry.offset < previous_end) {
      return cursor.fail(StatusCode::kBadFile, "section offset", at + 8,
                         "'%s' starts at %" PRIu64 ", before the end of what precedes it (%" PRIu64 ")",
                         entry.kind, entry.offset, previous_end);
    }
    if (!all_zero(data + previous_end, entry.offset - previous_end)) {
      return cursor.fail(StatusCode::kBadFile, "padding", previous_end,
                         "bytes before section '%s' are not zero", entry.kind);
    }
    previous_end = end;
    model->sections.push_back({std::string(entry.kind, 4), entry.offset, entry.size, entry.checksum});
  }
  if (previous_end != size) {
    return cursor.fail(StatusCode::kBadFile, "end of file", previous_end,
                       "%" PRIu64 " bytes follow the last section", size - previous_end);
  }
  return ok_status();
}

Status check_checksum(const std::byte* data, const TableEntry& entry) {
  const uint32_t actual = crc32(0, data + entry.offset, entry.size);
  if (actual == entry.checksum) return ok_status();
  return error(StatusCode::kBadFile,
               "section '%s' (offset %" PRIu64 ", %" PRIu64 " bytes): checksum is 0x%08" PRIX32
               ", the bytes give 0x%08" PRIX32 "; the file is damaged",
               entry.kind, entry.offset, entry.size, entry.checksum, actual);
}

Status read_model(const LoadOptions& options, Model* model) {
  const std::byte* data = model->storage->data;
  const size_t size = model->storage->size;
  model->file_bytes = size;
  Frame frame;
  EDGEC_TRY(read_header(data, size, model, &frame));
  EDGEC_TRY(read_section_table(data, size, model, &frame));
  const TableEntry* graph = frame.find("GRPH");
  const TableEntry* weight = frame.find("WGHT");
  if (graph == nullptr || weight == nullptr) {
    return error(StatusCode::kBadFile, "section table: section '%s' is missing", graph ? "WGHT" : "GRPH");
  }
  for (uint32_t i = 0; i < frame.count; ++i) {
    const TableEntry& entry = frame.entries[i];
    if (!entry.is("WGHT") || options.verify_weights) EDGEC_TRY(check_checksum(data, entry));
  }
  auto cursor_of = [&](const TableEntry& entry) {
    return Cursor(data + entry.offset, entry.size, entry.offset, entry.kind);
  };
  // First, because it says who wrote the file, which later errors quote.
  if (const TableEntry* meta = frame.find("META")) EDGEC_TRY(read_metadata_section(cursor_of(*meta), model));
  WeightSection weights{data + weight->offset, static_cast<size_t>(weight->size)};
  model->weight_bytes = weights.size;
  EDGEC_TRY(read_graph_section(cursor_of(*graph), weights, model));
  EDGEC_TRY(check_weight_layout(weights, options.verify_weights, model));
  if (const TableEntry* gold = frame.find("GOLD")) {
    EDGEC_TRY(read_golden_section(cursor_of(*gold), data + gold->offset, model));
  }
  return ok_status();
}

}  // namespace

Model::~Model() = default;

const char* runtime_version() { return EDGEC_VERSION; }

std::string written_by(const Model& model) {
  for (const auto& [key, value] : model.metadata) {
    // The producer is free text of the file; a long one would bury the message.
    if (key == "producer") return " (written by " + value.substr(0, 100) + ")";
  }
  return std::string();
}

Status Model::open(const char* path, const LoadOptions& options, std::shared_ptr<const Model>* out) {
  auto model = std::make_shared<Model>();
  EDGEC_TRY(Storage::open(path, options.max_file_size, &model->storage));
  Status status = read_model(options, model.get());
  if (!status.ok()) return std::move(status).with_context(path);
  *out = std::move(model);
  return ok_status();
}

Status Model::from_memory(const void* data, size_t size, bool copy, const LoadOptions& options,
                          std::shared_ptr<const Model>* out) {
  if (data == nullptr && size != 0) return error(StatusCode::kInvalidArgument, "model memory is null");
  if (options.max_file_size != 0 && size > options.max_file_size) {
    return error(StatusCode::kBadFile, "the model has %zu bytes, more than the limit of %zu (max_file_size)",
                 size, options.max_file_size);
  }
  auto model = std::make_shared<Model>();
  EDGEC_TRY(copy ? Storage::copy(data, size, &model->storage) : Storage::borrow(data, size, &model->storage));
  Status status = read_model(options, model.get());
  if (!status.ok()) return std::move(status).with_context("model in memory");
  *out = std::move(model);
  return ok_status();
}

}  // namespace edgec
