// kernels/simd/math.h against the C library in double precision, over a stride of all floats, on every ISA.
#include "core/cpu.h"
#include "harness.h"
#include "kernels/math_table/math_table.h"

namespace edgec {
#define EDGEC_ISA_ROW(name)          \
  namespace name {                   \
  extern const MathTable kMathTable; \
  }
#include "math_table_isas.inc"
#undef EDGEC_ISA_ROW
}  // namespace edgec

using namespace edgec;
using namespace edgec::test;

namespace {

double reference(int function, double x) {
  switch (function) {
    case 0:
      return std::exp(x);
    case 1:
      return std::expm1(x);
    case 2:
      return std::log(x);
    case 3:
      return std::log1p(x);
    case 4:
      return std::tanh(x);
    case 5:
      return 1 / (1 + std::exp(-x));
    case 6:
      return std::erf(x);
    default:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
  }
}
// What math.h promises, in units in the last place, and half a one more for the rounding of the reference.
constexpr double kBounds[kMathFunctions] = {1.5, 2.5, 1.5, 2.5, 2.5, 3.5, 3.5, 3.5};

double error_in_ulp(float got, double want) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got) ? 0 : INFINITY;
  const float rounded = static_cast<float>(want);
  if (std::isinf(rounded) || std::isinf(got)) return got == rounded ? 0 : INFINITY;
  int exponent = 0;
  std::frexp(want, &exponent);
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

void check(const MathTable& table, const char* isa, const float* x, size_t count, double* worst) {
  std::vector<float> y(count);
  for (int f = 0; f < kMathFunctions; ++f) {
    table.functions[f].apply(x, y.data(), count);
    for (size_t i = 0; i < count; ++i) {
      const double error = error_in_ulp(y[i], reference(f, x[i]));
      worst[f] = std::max(worst[f], error);
      if (error <= kBounds[f]) continue;
      fail(__FILE__, __LINE__, "%s(%.9g) on %s is %.9g, expected %.9g: %.2f ulp", table.functions[f].name,
           x[i], isa, y[i], reference(f, x[i]), error);
      return;
    }
  }
}

template <class Body>
void for_each_isa(const Body& body) {
#define EDGEC_ISA_ROW(name) \
  if (isa_supported(Isa::name)) body(name::kMathTable, #name);
#include "math_table_isas.inc"
#undef EDGEC_ISA_ROW
}

}  // namespace

TEST(all_magnitudes) {
  for_each_isa([](const MathTable& table, const char* isa) {
    double worst[kMathFunctions] = {};
    std::vector<float> x(4096);
    // A prime stride through all bit patterns: every exponent, both signs, denormals, NaN.
    uint32_t bits = static_cast<uint32_t>(seed());
    for (int block = 0; block < 64 && failures() < 5; ++block) {
      for (float& v : x) {
        std::memcpy(&v, &bits, sizeof v);
        bits += 16381;
      }
      check(table, isa, x.data(), x.size(), worst);
    }
    for (int f = 0; f < kMathFunctions; ++f)
      std::printf("  %s %s: %.2f ulp\n", isa, table.functions[f].name, worst[f]);
  });
}

TEST(where_the_functions_bend) {
  Random random(1);
  for_each_isa([&](const MathTable& table, const char* isa) {
    double worst[kMathFunctions] = {};
    for (float range : {1e-3f, 0.1f, 0.7f, 1.5f, 5.0f, 20.0f, 110.0f}) {
      const std::vector<float> x = random.floats(16384, -range, range);
      check(table, isa, x.data(), x.size(), worst);
    }
  });
}

TEST(special_values) {
  const std::vector<float> x = {0.0f,    -0.0f, INFINITY,  -INFINITY, NAN,     1.0f,    -1.0f,   1e-40f,
                                -1e-40f, 88.7f, 88.72284f, -87.4f,    -103.9f, -104.5f, 3.4e38f, -3.4e38f};
  for_each_isa([&](const MathTable& table, const char* isa) {
    double worst[kMathFunctions] = {};
    check(table, isa, x.data(), x.size(), worst);
    // Functions that pass through zero keep its sign.
    for (int f : {1, 3, 4, 6}) {
      std::vector<float> y(x.size());
      table.functions[f].apply(x.data(), y.data(), x.size());
      EXPECT(!std::signbit(y[0]));
      EXPECT(std::signbit(y[1]));
    }
  });
}
