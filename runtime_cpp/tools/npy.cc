#include "npy.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

namespace edgec::tools {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicBytes = 6;
constexpr size_t kMaxHeaderBytes = 64 * 1024;

struct TypeCode {
  DType dtype;
  const char* code;
};
constexpr TypeCode kCodes[] = {{DType::kF32, "<f4"}, {DType::kF16, "<f2"},  {DType::kBF16, "<V2"},
                               {DType::kI8, "|i1"},  {DType::kU8, "|u1"},   {DType::kI32, "<i4"},
                               {DType::kI64, "<i8"}, {DType::kBool, "|b1"}, {DType::kF64, "<f8"},
                               {DType::kI16, "<i2"}, {DType::kU16, "<u2"},  {DType::kU32, "<u4"},
                               {DType::kU64, "<u8"}};

Status bad(const char* what) { return error(StatusCode::kBadFile, "not a valid .npy file: %s", what); }

// The header is a Python dict literal with three known keys; nothing else is accepted.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Status parse(NpyArray* out) {
    bool descr = false, order = false, shape = false;
    if (!take('{')) return bad("the header is no dict");
    while (!take('}')) {
      std::string_view key;
      if (!quoted(&key) || !take(':')) return bad("a key of the header");
      if (key == "descr" && !descr) {
        descr = true;
        EDGEC_TRY(type(&out->dtype));
      } else if (key == "fortran_order" && !order) {
        order = true;
        if (word("True")) {
          return error(StatusCode::kUnsupported,
                       "the array is in Fortran order; save numpy.ascontiguousarray(array) instead");
        }
        if (!word("False")) return bad("fortran_order");
      } else if (key == "shape" && !shape) {
        shape = true;
        EDGEC_TRY(tuple(&out->shape));
      } else {
        return bad("an unknown or repeated key in the header");
      }
      if (!take(',') && peek() != '}') return bad("the header");
    }
    return descr && order && shape ? ok_status() : bad("the header lacks a key");
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    skip_space();
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }
  bool quoted(std::string_view* out) {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return false;
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return false;
    *out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }
  Status type(DType* out) {
    std::string_view code;
    if (!quoted(&code)) return error(StatusCode::kUnsupported, "structured .npy types are not supported");
    for (const TypeCode& known : kCodes) {
      if (code == known.code) {
        *out = known.dtype;
        return ok_status();
      }
    }
    return error(StatusCode::kUnsupported, "NumPy type '%.*s' is not supported",
                 static_cast<int>(code.size() < 40 ? code.size() : 40), code.data());
  }
  Status tuple(Shape* out) {
    if (!take('(')) return bad("shape");
    while (!take(')')) {
      int64_t value = 0;
      bool digits = false;
      for (char c = peek(); c >= '0' && c <= '9'; c = at_ < text_.size() ? text_[at_] : '\0') {
        if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
            __builtin_add_overflow(value, c - '0', &value)) {
          return bad("a dimension is too large");
        }
        digits = true;
        ++at_;
      }
      if (!digits) return bad("shape");
      if (out->rank() == kMaxRank)
        return error(StatusCode::kUnsupported, "more than %d dimensions", kMaxRank);
      out->push_back(value);
      if (!take(',') && peek() != ')') return bad("shape");
    }
    return ok_status();
  }

  std::string_view text_;
  size_t at_ = 0;
};

struct Closer {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, Closer>;

}  // namespace

Status parse_npy(const std::byte* data, size_t size, NpyArray* out) {
  if (size < kMagicBytes + 4 || std::memcmp(data, kMagic, kMagicBytes) != 0)
    return bad("the magic bytes are missing");
  const auto byte = [&](size_t i) { return static_cast<size_t>(data[i]); };
  const size_t version = byte(6);
  if (version < 1 || version > 3) return error(StatusCode::kUnsupported, ".npy version %zu", version);
  const size_t start = version == 1 ? 10 : 12;
  if (size < start) return bad("it is truncated");
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kMaxHeaderBytes || length > size - start)
    return bad("it is truncated or its header is too long");
  NpyArray array;
  EDGEC_TRY(
      HeaderParser(std::string_view(reinterpret_cast<const char*>(data) + start, length)).parse(&array));
  EDGEC_TRY(check_shape(array.dtype, array.shape));
  const TensorType type{array.dtype, array.shape, nullptr};
  if (size - start - length != type.bytes()) {
    return error(StatusCode::kBadFile, "not a valid .npy file: %zu bytes of data, %s has %zu",
                 size - start - length, type.to_string().c_str(), type.bytes());
  }
  array.data.assign(data + start + length, data + size);
  *out = std::move(array);
  return ok_status();
}

Status read_npy(const char* path, NpyArray* out) {
  File file(std::fopen(path, "rb"));
  if (!file) return error(StatusCode::kIo, "cannot open '%s': %s", path, std::strerror(errno));
  std::vector<std::byte> bytes;
  std::vector<std::byte> chunk(256 * 1024);
  while (const size_t got = std::fread(chunk.data(), 1, chunk.size(), file.get())) {
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got));
  }
  if (std::ferror(file.get()))
    return error(StatusCode::kIo, "cannot read '%s': %s", path, std::strerror(errno));
  return parse_npy(bytes.data(), bytes.size(), out).with_context(path);
}

std::string npy_header(const TensorType& type) {
  const char* code = "|V1";
  for (const TypeCode& known : kCodes) {
    if (known.dtype == type.dtype) code = known.code;
  }
  std::string dict = std::string("{'descr': '") + code + "', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < type.shape.rank(); ++i) {
    dict += (i ? ", " : "") + std::to_string(type.shape[i]);
  }
  if (type.shape.rank() == 1) dict += ",";
  dict += "), }";
  // Data starts at a multiple of 64, and the header ends with a newline.
  const size_t unpadded = kMagicBytes + 4 + dict.size() + 1;
  dict.append((64 - unpadded % 64) % 64, ' ');
  dict += '\n';
  std::string header(kMagic, kMagicBytes);
  header += '\x01';
  header += '\0';
  header += static_cast<char>(dict.size() & 0xFF);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

Status write_npy(const char* path, const TensorType& type, const void* data) {
  const std::string temporary = std::string(path) + ".partial";
  File file(std::fopen(temporary.c_str(), "wb"));
  if (!file) return error(StatusCode::kIo, "cannot write '%s': %s", temporary.c_str(), std::strerror(errno));
  const std::string header = npy_header(type);
  bool written = std::fwrite(header.data(), 1, header.size(), file.get()) == header.size();
  written = written && (type.bytes() == 0 || std::fwrite(data, 1, type.bytes(), file.get()) == type.bytes());
  written = std::fclose(file.release()) == 0 && written;
  if (!written || std::rename(temporary.c_str(), path) != 0) {
    const int reason = errno;
    std::remove(temporary.c_str());
    return error(StatusCode::kIo, "cannot write '%s': %s", path, std::strerror(reason));
  }
  return ok_status();
}

}  // namespace edgec::tools
