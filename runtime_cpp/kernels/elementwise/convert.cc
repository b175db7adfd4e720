#include "kernels/elementwise/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace edgec {
namespace {

struct f16 {
  uint16_t bits;
};
struct bf16 {
  uint16_t bits;
};
// An integer of `bits` bits in a byte; bits above are ignored when read and sign-extended when written.
template <int bits, bool is_signed>
struct small_int {
  uint8_t byte;
};

// value rounded to `mantissa` explicit bits with exponents from `smallest` (of normal numbers), as an
// integer multiple of the unit in the last place, to nearest even.
template <int mantissa, int smallest, int largest>
uint16_t narrow(double value) {
  constexpr uint16_t infinity = static_cast<uint16_t>((largest - smallest + 2) << mantissa);
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | infinity | (1 << (mantissa - 1)));
  const double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return sign | infinity;
  if (magnitude == 0) return sign;
  int exponent = std::max(std::ilogb(magnitude), smallest);
  if (exponent > largest) return sign | infinity;
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, mantissa - exponent)));
  // Carries of rounding run from mantissa into exponent, up to infinity; a denormal has exponent field 0.
  const uint32_t field = static_cast<uint32_t>(exponent - smallest) << mantissa;
  return static_cast<uint16_t>(sign | (field + units));
}

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The same for f32, which networks convert most, in a few integer operations.
uint16_t f32_to_f16(float value) {
  const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffff;
  uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00;
  } else if (magnitude >= 0x477ff000) {  // 65520: half way from the largest to what would come next
    half = 0x7c00;
  } else if (magnitude < 0x38800000) {  // below 2^-14 the result counts units of 2^-24, the last place of 1/2
    half = bits_of(std::fabs(value) + 0.5f) - bits_of(0.5f);
  } else {
    // Exponent bias 127 to 15, and rounding of the 13 bits that go: up from above half way, or from half way
    // if odd.
    half = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  }
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | half);
}
uint16_t f32_to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16 & 0x8000) | 0x7fc0);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// -- one element ----------------------------------------------------------------------------------
template <class T>
T decode(T x) {
  return x;
}
float decode(f16 x) { return f16_to_f32(x.bits); }
float decode(bf16 x) { return bf16_to_f32(x.bits); }
template <int bits, bool is_signed>
int32_t decode(small_int<bits, is_signed> x) {
  const auto low = static_cast<int32_t>(x.byte & ((1 << bits) - 1));
  return is_signed && (low >> (bits - 1)) ? low - (1 << bits) : low;
}
template <class T>
struct is_small_int : std::false_type {};
template <int bits, bool is_signed>
struct is_small_int<small_int<bits, is_signed>> : std::true_type {};

template <class To, class From>
To convert_one(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_same_v<To, f16> && std::is_same_v<From, float>) {
    return {f32_to_f16(x)};
  } else if constexpr (std::is_same_v<To, bf16> && std::is_same_v<From, float>) {
    return {f32_to_bf16(x)};
  } else if constexpr (std::is_same_v<To, f16>) {
    return {f64_to_f16(static_cast<double>(x))};
  } else if constexpr (std::is_same_v<To, bf16>) {
    return {f64_to_bf16(static_cast<double>(x))};
  } else if constexpr (is_small_int<To>::value) {
    return {static_cast<uint8_t>(decode(To{static_cast<uint8_t>(convert_one<int64_t>(x))}))};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // The limits as From: max() may round up to the first value that no longer fits, hence >=.
    if (x != x) return To(0);
    if (x >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    if (x <= static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

// -- a row ----------------------------------------------------------------------------------------
// bool is read as a byte: a tensor from outside may hold other values than 0 and 1.
template <class Visit>
void with_type(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::kF32:
      return visit(float());
    case DType::kF16:
      return visit(f16());
    case DType::kBF16:
      return visit(bf16());
    case DType::kI8:
      return visit(int8_t());
    case DType::kU8:
      return visit(uint8_t());
    case DType::kI32:
      return visit(int32_t());
    case DType::kI64:
      return visit(int64_t());
    case DType::kBool:
      return visit(bool());
    case DType::kF64:
      return visit(double());
    case DType::kI16:
      return visit(int16_t());
    case DType::kU16:
      return visit(uint16_t());
    case DType::kU32:
      return visit(uint32_t());
    case DType::kU64:
      return visit(uint64_t());
    case DType::kI4:
      return visit(small_int<4, true>());
    case DType::kU4:
      return visit(small_int<4, false>());
    case DType::kI2:
      return visit(small_int<2, true>());
    case DType::kU2:
      return visit(small_int<2, false>());
    default:
      return;  // small floats have functions of their own
  }
}

template <class From, class To>
void convert_row(const From* source, int64_t n, To* destination) {
  for (int64_t i = 0; i < n; ++i) destination[i] = convert_one<To>(decode(source[i]));
}
template <class To>
void convert_row(const bool* source, int64_t n, To* destination) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(source);
  for (int64_t i = 0; i < n; ++i) destination[i] = convert_one<To>(static_cast<uint8_t>(bytes[i] != 0));
}

}  // namespace

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7fff;
  float value;
  if (magnitude < 0x0400) {
    value = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // 2^-24
  } else {
    // Exponent bias 15 to 127; infinity and NaN keep an all-ones exponent.
    const uint32_t wide = (magnitude << 13) + (magnitude >= 0x7c00 ? 0x70000000u : 0x38000000u);
    std::memcpy(&value, &wide, sizeof value);
  }
  uint32_t wide;
  std::memcpy(&wide, &value, sizeof wide);
  wide |= sign;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

uint16_t f64_to_f16(double value) { return narrow<10, -14, 15>(value); }
uint16_t f64_to_bf16(double value) { return narrow<7, -126, 127>(value); }

template <class T>
void load_as(DType from, const void* source, int64_t n, T* destination) {
  if (is_small_float(from)) {
    const auto* codes = static_cast<const uint8_t*>(source);
    for (int64_t i = 0; i < n; ++i) destination[i] = convert_one<T>(small_float_value(from, codes[i]));
    return;
  }
  with_type(from, [&](auto tag) { convert_row(static_cast<const decltype(tag)*>(source), n, destination); });
}
template <class T>
void store_as(DType to, const T* source, int64_t n, void* destination, const SmallFloatRules& rules) {
  if (is_small_float(to)) {
    auto* codes = static_cast<uint8_t*>(destination);
    for (int64_t i = 0; i < n; ++i) codes[i] = small_float_code(to, static_cast<double>(source[i]), rules);
    return;
  }
  with_type(to, [&](auto tag) { convert_row(source, n, static_cast<decltype(tag)*>(destination)); });
}
#define EDGEC_INSTANTIATE(T)                                 \
  template void load_as<T>(DType, const void*, int64_t, T*); \
  template void store_as<T>(DType, const T*, int64_t, void*, const SmallFloatRules&);
EDGEC_INSTANTIATE(float)
EDGEC_INSTANTIATE(double)
EDGEC_INSTANTIATE(int64_t)
EDGEC_INSTANTIATE(uint64_t)
#undef EDGEC_INSTANTIATE

namespace {

template <class Wide>
void convert_through(DType from, const void* source, DType to, void* destination, int64_t n,
                     const SmallFloatRules& rules) {
  constexpr int64_t kBlock = 256;
  Wide block[kBlock];
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = std::min(kBlock, n - i);
    load_as(from, static_cast<const char*>(source) + static_cast<size_t>(i) * dtype_size(from), count, block);
    store_as(to, block, count, static_cast<char*>(destination) + static_cast<size_t>(i) * dtype_size(to),
             rules);
  }
}

}  // namespace

void convert_elements(DType from, const void* source, DType to, void* destination, int64_t n,
                      const SmallFloatRules& rules) {
  if (from == to && from != DType::kBool) {
    std::memmove(destination, source, static_cast<size_t>(n) * dtype_size(from));
  } else if (from == DType::kF32) {
    store_as(to, static_cast<const float*>(source), n, destination, rules);
  } else if (from == DType::kI64) {
    store_as(to, static_cast<const int64_t*>(source), n, destination, rules);
  } else if (to == DType::kF32) {
    load_as(from, source, n, static_cast<float*>(destination));
  } else if (dtype_is_float(from) || is_small_float(from)) {
    convert_through<double>(from, source, to, destination, n, rules);
  } else if (from == DType::kU64) {
    convert_through<uint64_t>(from, source, to, destination, n, rules);
  } else {
    convert_through<int64_t>(from, source, to, destination, n, rules);
  }
}

}  // namespace edgec
