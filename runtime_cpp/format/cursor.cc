#include "format/cursor.h"

#include <cinttypes>
#include <cstdio>

namespace edgec {
namespace {

// Length of the well-formed UTF-8 sequence that starts at p (Unicode 15, table 3-7), 0 when there is none.
size_t utf8_sequence(const unsigned char* p, size_t available) {
  auto continues = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return i < available && p[i] >= low && p[i] <= high;
  };
  const unsigned lead = p[0];
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80;   // overlong forms
    const unsigned high = lead == 0xED ? 0x9F : 0xBF;  // surrogates
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xF4 ? 0x8F : 0xBF;  // beyond U+10FFFF
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

const char* text_defect(const char* data, size_t size, Text rule) {
  const unsigned char* p = reinterpret_cast<const unsigned char*>(data);
  size_t i = 0;
  while (i < size) {
    const unsigned c = p[i];
    if (c >= 0x20 && c < 0x7F) {
      ++i;
      continue;
    }
    if (c == 0) return "contains a NUL character";
    if (c < 0x80) {
      if (rule == Text::kName) return "contains a control character";
      ++i;
      continue;
    }
    const size_t length = utf8_sequence(p + i, size - i);
    if (length == 0) return "is not valid UTF-8";
    // U+0080..U+009F are control characters too; some terminals obey them.
    if (rule == Text::kName && c == 0xC2 && p[i + 1] < 0xA0) return "contains a control character";
    i += length;
  }
  return nullptr;
}

Status Cursor::too_short(const char* field, uint64_t wanted) const {
  return fail(StatusCode::kBadFile, field, offset(),
              "needs %" PRIu64 " bytes, %zu remain; the file is damaged", wanted, remaining());
}

Status Cursor::fail(StatusCode code, const char* field, uint64_t offset, const char* format, ...) const {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof(message), format, arguments);
  va_end(arguments);
  return error(code, "%s offset %" PRIu64 ", %s: %s", section_, offset, field, message);
}

Status Cursor::count(const char* field, size_t bytes_each, uint32_t* out) {
  const uint64_t at = offset();
  EDGEC_TRY(read(field, out));
  if (*out > remaining() / bytes_each) {
    return fail(StatusCode::kBadFile, field, at,
                "count is %" PRIu32 ", but the %zu bytes that remain hold at most %zu; the file is damaged",
                *out, remaining(), remaining() / bytes_each);
  }
  return ok_status();
}

Status Cursor::text(const char* field, Text rule, uint32_t limit, std::string* out) {
  const uint64_t at = offset();
  uint32_t size = 0;
  EDGEC_TRY(count(field, 1, &size));
  if (size > limit) {
    return fail(StatusCode::kBadFile, field, at, "is %" PRIu32 " bytes long, at most %" PRIu32 " are allowed",
                size, limit);
  }
  out->assign(reinterpret_cast<const char*>(position_), size);
  position_ += size;
  if (const char* defect = text_defect(out->data(), out->size(), rule)) {
    return fail(StatusCode::kBadFile, field, at, "%s", defect);
  }
  return ok_status();
}

Status Cursor::skip(const char* field, uint64_t bytes) {
  if (remaining() < bytes) return too_short(field, bytes);
  position_ += bytes;
  return ok_status();
}

Status Cursor::finish() const {
  if (remaining() == 0) return ok_status();
  return fail(StatusCode::kBadFile, "end", offset(), "%zu bytes follow the last field; the file is damaged",
              remaining());
}

}  // namespace edgec
