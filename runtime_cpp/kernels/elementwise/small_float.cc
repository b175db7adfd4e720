#include "kernels/elementwise/small_float.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace edgec {
namespace {

// OCP 8-bit floating point specification (FN: no infinity) and its "fnuz" relatives (one zero, one NaN), OCP
// microscaling formats (f4e2m1, f8e8m0).
struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool infinity;  // all-ones exponent with mantissa 0; the other mantissas are NaN
  bool fnuz;      // the code of -0 is NaN
  bool nan;       // FN: all ones is NaN; f4 has none
};

constexpr Format format_of(DType dtype) {
  switch (dtype) {
    case DType::kF8E4M3FN:
      return {4, 3, 7, false, false, true};
    case DType::kF8E4M3FNUZ:
      return {4, 3, 8, false, true, true};
    case DType::kF8E5M2:
      return {5, 2, 15, true, false, true};
    case DType::kF8E5M2FNUZ:
      return {5, 2, 16, false, true, true};
    default:
      return {2, 1, 1, false, false, false};  // f4e2m1
  }
}

struct Table {
  float values[128];  // of the codes without sign
  int finite;         // codes [0, finite) are finite
};

Table make_table(DType dtype) {
  const Format f = format_of(dtype);
  const int codes = 1 << (f.exponent_bits + f.mantissa_bits);
  Table table{};
  table.finite = f.infinity ? codes - (1 << f.mantissa_bits) : f.nan && !f.fnuz ? codes - 1 : codes;
  for (int code = 0; code < codes; ++code) {
    const int exponent = code >> f.mantissa_bits, mantissa = code & ((1 << f.mantissa_bits) - 1);
    const int hidden = exponent == 0 ? 0 : 1 << f.mantissa_bits;
    table.values[code] = std::ldexp(static_cast<float>(hidden + mantissa),
                                    (exponent == 0 ? 1 : exponent) - f.bias - f.mantissa_bits);
    if (code >= table.finite)
      table.values[code] = f.infinity && mantissa == 0 ? std::numeric_limits<float>::infinity()
                                                       : std::numeric_limits<float>::quiet_NaN();
  }
  return table;
}

const Table& table_of(DType dtype) {
  static const Table tables[] = {make_table(DType::kF8E4M3FN), make_table(DType::kF8E4M3FNUZ),
                                 make_table(DType::kF8E5M2), make_table(DType::kF8E5M2FNUZ),
                                 make_table(DType::kF4E2M1)};
  switch (dtype) {
    case DType::kF8E4M3FN:
      return tables[0];
    case DType::kF8E4M3FNUZ:
      return tables[1];
    case DType::kF8E5M2:
      return tables[2];
    case DType::kF8E5M2FNUZ:
      return tables[3];
    default:
      return tables[4];
  }
}

// Powers of two with exponents -127 to 127; 255 is NaN; no sign.
uint8_t e8m0_code(double value, const SmallFloatRules& rules) {
  constexpr int kNan = 255, kLargest = 254;
  if (std::isnan(value)) return kNan;
  const double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return rules.saturate ? kLargest : kNan;
  if (magnitude == 0) return 0;
  int exponent = std::ilogb(magnitude);
  const double fraction = std::ldexp(magnitude, -exponent);  // [1, 2)
  if (rules.round == SmallFloatRules::Round::kUp && fraction > 1) ++exponent;
  if (rules.round == SmallFloatRules::Round::kNearest && fraction >= 1.5) ++exponent;
  if (exponent + 127 > kLargest) return rules.saturate ? kLargest : kNan;
  return static_cast<uint8_t>(std::max(exponent + 127, 0));
}

}  // namespace

bool is_small_float(DType dtype) { return dtype >= DType::kF8E4M3FN && dtype <= DType::kF4E2M1; }

float small_float_value(DType dtype, uint8_t code) {
  if (dtype == DType::kF8E8M0)
    return code == 255 ? std::numeric_limits<float>::quiet_NaN()
                       : std::ldexp(1.0f, static_cast<int>(code) - 127);
  const Format f = format_of(dtype);
  const int sign_bit = 1 << (f.exponent_bits + f.mantissa_bits);
  if (f.fnuz && code == sign_bit) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = table_of(dtype).values[code & (sign_bit - 1)];
  return code & sign_bit ? -magnitude : magnitude;
}

uint8_t small_float_code(DType dtype, double value, const SmallFloatRules& rules) {
  if (dtype == DType::kF8E8M0) return e8m0_code(value, rules);
  const Format f = format_of(dtype);
  const Table& table = table_of(dtype);
  const int sign_bit = 1 << (f.exponent_bits + f.mantissa_bits);
  const int sign = std::signbit(value) ? sign_bit : 0;
  // f4e2m1 has no NaN; ONNX's reference stores -0 for one.
  const auto nan = static_cast<uint8_t>(f.fnuz || !f.nan ? sign_bit : sign | (sign_bit - 1));
  if (std::isnan(value)) return nan;
  const double magnitude = std::fabs(value);
  const float* last = table.values + table.finite - 1;
  // The value that one more code would have: what lies half way or more beyond the last code overflows.
  const double step = static_cast<double>(*last) - static_cast<double>(last[-1]);
  if (magnitude > *last + step / 2 || std::isinf(magnitude)) {
    if (rules.saturate || !f.nan) return static_cast<uint8_t>(sign | (table.finite - 1));
    return f.infinity ? static_cast<uint8_t>(sign | table.finite) : nan;
  }
  const float* above =
      std::lower_bound(table.values, last, magnitude, [](float v, double m) { return v < m; });
  auto code = static_cast<int>(above - table.values);
  if (code > 0 && *above > magnitude) {
    const double up = *above - magnitude, down = magnitude - above[-1];
    if (down < up || (down == up && (code & 1))) --code;
  }
  if (code == 0 && f.fnuz) return 0;
  return static_cast<uint8_t>(sign | code);
}

}  // namespace edgec
