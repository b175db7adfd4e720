// The one way bytes of a file become numbers: every field of every section passes through a Cursor, which
// checks bounds before it reads and names the field and its offset in the file when it refuses.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "core/status.h"

namespace edgec {

// Sums, products and alignments of sizes that come from a file. False = does not fit into 64 bits.
[[nodiscard]] inline bool checked_add(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}
[[nodiscard]] inline bool checked_multiply(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}
[[nodiscard]] inline bool checked_align(uint64_t a, uint64_t power_of_two, uint64_t* out) {
  if (!checked_add(a, power_of_two - 1, out)) return false;
  *out &= ~(power_of_two - 1);
  return true;
}

// Little-endian load from any address; a plain load on the machines that matter.
template <class T>
T load_little_endian(const std::byte* p) {
  static_assert(std::is_arithmetic_v<T>);
  T value;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  std::byte reversed[sizeof(T)];
  for (size_t i = 0; i < sizeof(T); ++i) reversed[i] = p[sizeof(T) - 1 - i];
  std::memcpy(&value, reversed, sizeof(T));
#else
  std::memcpy(&value, p, sizeof(T));
#endif
  return value;
}

enum class Text {
  kName,   // UTF-8 without NUL and without control characters: names are printed on terminals
  kValue,  // UTF-8 without NUL
};

inline constexpr uint32_t kMaxNameBytes = 4096;
inline constexpr uint32_t kMaxAttributeStringBytes = 64 * 1024;
inline constexpr uint32_t kMaxMetadataValueBytes = 16 * 1024 * 1024;

// Empty when the text is acceptable, else what is wrong with it.
const char* text_defect(const char* data, size_t size, Text rule);

class Cursor {
 public:
  // `file_offset` is where data[0] lies in the file; `section` names it in errors. Both only serve messages.
  Cursor(const std::byte* data, size_t size, uint64_t file_offset, const char* section)
      : begin_(data), position_(data), end_(data + size), file_offset_(file_offset), section_(section) {}

  size_t remaining() const { return static_cast<size_t>(end_ - position_); }
  // Offset in the file of the next byte.
  uint64_t offset() const { return file_offset_ + static_cast<uint64_t>(position_ - begin_); }

  template <class T>
  Status read(const char* field, T* out) {
    if (remaining() < sizeof(T)) return too_short(field, sizeof(T));
    *out = load_little_endian<T>(position_);
    position_ += sizeof(T);
    return ok_status();
  }

  // `count` numbers into out[0..count). The caller owns the memory, so it has checked count already.
  template <class T>
  Status read_array(const char* field, size_t count, T* out) {
    if (remaining() / sizeof(T) < count) return too_short(field, count * sizeof(T));
    for (size_t i = 0; i < count; ++i) out[i] = load_little_endian<T>(position_ + i * sizeof(T));
    position_ += count * sizeof(T);
    return ok_status();
  }

  // A u32 count of items that take at least `bytes_each` (>= 1) bytes, so that whoever allocates for
  // *out items afterwards allocates in proportion to what the file really holds.
  Status count(const char* field, size_t bytes_each, uint32_t* out);

  // A u32 byte count and that many bytes of text, at most `limit`. The copy is what gets checked, so a file
  // that changes while it is mapped cannot change a checked name.
  Status text(const char* field, Text rule, uint32_t limit, std::string* out);
  Status name(const char* field, std::string* out) { return text(field, Text::kName, kMaxNameBytes, out); }

  Status skip(const char* field, uint64_t bytes);
  // The section must end here.
  Status finish() const;

  // "GRPH offset 420, tensor dtype: <message>". The offset is where the last field started, or of the next
  // byte.
  [[gnu::format(printf, 5, 6)]] Status fail(StatusCode code, const char* field, uint64_t offset,
                                            const char* format, ...) const;

 private:
  Status too_short(const char* field, uint64_t wanted) const;

  const std::byte* begin_;
  const std::byte* position_;
  const std::byte* end_;
  uint64_t file_offset_;
  const char* section_;
};

}  // namespace edgec
