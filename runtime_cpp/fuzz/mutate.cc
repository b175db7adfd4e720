#include "fuzz/mutate.h"

#include <cstring>

#include "format/crc32.h"

namespace edgec::fuzz {
namespace {

constexpr size_t kHeader = 64, kEntry = 32, kMaxSections = 16;

uint32_t load32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

uint64_t load64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

// Walks GRPH like the reader does, without judging: stops where the bytes end.
class Walker {
 public:
  Walker(const uint8_t* data, size_t begin, size_t end, std::vector<Span>* fields)
      : data_(data), at_(begin), end_(end), fields_(fields) {}

  void graph_section() {
    for (uint64_t n = number(4); n > 0 && ok_; --n) text(), number(4);
    for (uint64_t n = number(4); n > 0 && ok_; --n) text(), number(8), number(8);
    for (uint64_t n = number(4); n > 0 && ok_; --n) graph();
  }

 private:
  uint64_t number(size_t width) {
    if (!ok_ || end_ - at_ < width) {
      ok_ = false;
      return 0;
    }
    uint64_t value = 0;
    std::memcpy(&value, data_ + at_, width);
    fields_->push_back({at_, width});
    at_ += width;
    return value;
  }
  void text() {
    const uint64_t n = number(4);
    if (!ok_ || end_ - at_ < n) {
      ok_ = false;
      return;
    }
    if (n > 0) fields_->push_back({at_, static_cast<size_t>(n)});
    at_ += n;
  }
  void numbers(size_t width) {
    for (uint64_t n = number(4); n > 0 && ok_; --n) number(width);
  }
  void tensor() {
    text();
    const uint64_t kind = number(1), flags = number(1);
    if (kind != 0) {
      number(1);
      for (uint64_t rank = number(1); rank > 0 && ok_; --rank) number(8);
    }
    if (kind == 1) number(8), number(8);
    if (flags & 1) {
      number(4);
      for (uint64_t n = 2 * number(4); n > 0 && ok_; --n) number(4);
    }
  }
  void attribute() {
    text();
    switch (number(1)) {
      case 1:
      case 2:
        number(8);
        break;
      case 3:
        text();
        break;
      case 4:
      case 5:
        numbers(8);
        break;
      case 6:
        number(4);
        break;
      default:
        ok_ = false;
    }
  }
  void graph() {
    text();
    for (uint64_t n = number(4); n > 0 && ok_; --n) tensor();
    numbers(4);
    numbers(4);
    for (uint64_t n = number(4); n > 0 && ok_; --n) {
      number(4);
      text();
      numbers(4);
      numbers(4);
      for (uint64_t k = number(4); k > 0 && ok_; --k) attribute();
    }
  }

  const uint8_t* data_;
  size_t at_, end_;
  std::vector<Span>* fields_;
  bool ok_ = true;
};

template <class Visit>
void for_each_section(const uint8_t* data, size_t size, Visit visit) {
  if (size < kHeader) return;
  const size_t count = load32(data + 16);
  if (count > kMaxSections || size < kHeader + count * kEntry) return;
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = kHeader + i * kEntry;
    const uint64_t offset = load64(data + entry + 8), length = load64(data + entry + 16);
    if (offset <= size && length <= size - offset)
      visit(entry, static_cast<size_t>(offset), static_cast<size_t>(length));
  }
}

}  // namespace

std::vector<Span> find_fields(const uint8_t* data, size_t size) {
  std::vector<Span> fields;
  for_each_section(data, size, [&](size_t entry, size_t offset, size_t length) {
    if (std::memcmp(data + entry, "GRPH", 4) == 0)
      Walker(data, offset, offset + length, &fields).graph_section();
    // Constants hold shapes, axes and indices, eight bytes each.
    if (std::memcmp(data + entry, "WGHT", 4) == 0) {
      for (size_t i = 0; i + 8 <= length && i < 4096; i += 8) fields.push_back({offset + i, 8});
    }
  });
  return fields;
}

void seal(uint8_t* data, size_t size) {
  if (size < kHeader) return;
  const uint64_t file_size = size;
  std::memcpy(data + 24, &file_size, 8);
  for_each_section(data, size, [&](size_t entry, size_t offset, size_t length) {
    const uint32_t crc = crc32(0, data + offset, length);
    std::memcpy(data + entry + 4, &crc, 4);
  });
  const size_t count = load32(data + 16);
  if (count > kMaxSections || size < kHeader + count * kEntry) return;
  std::memset(data + 20, 0, 4);
  const uint32_t crc = crc32(0, data, kHeader + count * kEntry);
  std::memcpy(data + 20, &crc, 4);
}

bool mutate_fields(uint8_t* data, size_t size, uint64_t seed) {
  const std::vector<Span> fields = find_fields(data, size);
  if (fields.empty()) return false;
  uint64_t state = (seed + 1) * 0x9E3779B97F4A7C15ull | 1;
  const auto next = [&] {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Dull >> 16;
  };
  static constexpr int64_t kValues[] = {0,
                                        1,
                                        2,
                                        3,
                                        4,
                                        -1,
                                        -2,
                                        7,
                                        8,
                                        127,
                                        128,
                                        255,
                                        -128,
                                        65535,
                                        1 << 20,
                                        INT32_MAX,
                                        INT32_MIN,
                                        INT64_MAX,
                                        INT64_MIN,
                                        int64_t{1} << 32,
                                        int64_t{1} << 40,
                                        int64_t{1} << 62};
  for (uint64_t n = 1 + next() % 3; n > 0; --n) {
    const Span& field = fields[next() % fields.size()];
    uint8_t* at = data + field.offset;
    if (field.width > 8) {
      at[next() % field.width] = static_cast<uint8_t>('a' + next() % 26);
      continue;
    }
    uint64_t value = 0;
    std::memcpy(&value, at, field.width);
    switch (next() % 4) {
      case 0:
        value = static_cast<uint64_t>(kValues[next() % (sizeof(kValues) / sizeof(kValues[0]))]);
        break;
      case 1:
        value += next() % 9 - 4;
        break;
      case 2:
        value ^= uint64_t{1} << (next() % (field.width * 8));
        break;
      default: {  // a value of another field of this width: indices that exist, sizes that fit
        const Span& other = fields[next() % fields.size()];
        if (other.width == field.width) std::memcpy(&value, data + other.offset, field.width);
      }
    }
    std::memcpy(at, &value, field.width);
  }
  seal(data, size);
  return true;
}

}  // namespace edgec::fuzz
