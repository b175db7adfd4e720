// Elementwise kernels of every instruction set against the double precision ones, and against themselves
// one element at a time: a result may not depend on where in a row it is computed.
#include <algorithm>
#include <limits>

#include "harness.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/loop.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

constexpr auto kSame = ElementwiseResult::kSame;
constexpr auto kBoolean = ElementwiseResult::kBoolean;
struct Row {
  const char* name;
  unsigned types;
  ElementwiseResult result;
};
constexpr Row kUnaryRows[] = {
#define EDGEC_UNARY(op, types, result, ...) {#op, types, result},
#include "kernels/elementwise/elementwise.def"
};
constexpr Row kBinaryRows[] = {
#define EDGEC_BINARY(op, types, result, ...) {#op, types, result},
#include "kernels/elementwise/elementwise.def"
};

struct Domain {
  float low, high;
};
Domain domain_of(const std::string& name) {
  if (name == "Acosh") return {1.1f, 6};
  if (name == "Asin" || name == "Acos" || name == "Atanh") return {-0.95f, 0.95f};
  if (name == "Log" || name == "Sqrt" || name == "Rsqrt" || name == "Reciprocal") return {0.1f, 9};
  if (name == "Tan") return {-1, 1};
  return {-6, 6};
}

constexpr float kPoison = -12345.5f;
// Past two vectors of the widest register, every length of a tail.
constexpr int64_t kMostColumns = 2 * 16 + 15;

std::vector<double> widen(const std::vector<float>& v) { return {v.begin(), v.end()}; }

}  // namespace

TEST(unary_matches_double_at_every_length) {
  Random random(1);
  for (Isa isa : supported_isas()) {
    for (int f = 0; f < kUnaryCount; ++f) {
      const ElementwiseKernel kernel = elementwise_kernels(DType::kF32, isa).unary[f];
      const ElementwiseKernel oracle = elementwise_kernels(DType::kF64, isa).unary[f];
      EXPECT((kernel != nullptr) == ((kUnaryRows[f].types & kFloats) != 0));
      if (kernel == nullptr) continue;
      const Domain domain = domain_of(kUnaryRows[f].name);
      for (int64_t n = 0; n <= kMostColumns && failures() < 5; ++n) {
        const std::vector<float> x = random.floats(static_cast<size_t>(n), domain.low, domain.high);
        const std::vector<double> wide = widen(x);
        std::vector<double> expected(x.size());
        ElementwiseArgs args;
        args.columns = n;
        args.alpha = 0.75;
        args.beta = 1.5;
        ElementwiseArgs reference = args;
        reference.a = wide.data();
        args.a = x.data();
        const std::string what = std::string(isa_name(isa)) + " " + kUnaryRows[f].name;
        if (kUnaryRows[f].result == kBoolean) {
          std::vector<uint8_t> y(x.size() + 1, 77), e(x.size());
          args.y = y.data();
          reference.y = e.data();
          kernel(args);
          oracle(reference);
          expect_same_bytes(y.data(), e.data(), e.size(), what.c_str(), __FILE__, __LINE__);
          EXPECT_EQ(y.back(), 77);
          continue;
        }
        std::vector<float> y(x.size() + 1, kPoison);
        args.y = y.data();
        reference.y = expected.data();
        kernel(args);
        oracle(reference);
        EXPECT_EQ(y.back(), kPoison);
        for (size_t i = 0; i < x.size(); ++i) {
          // Compositions of at most four functions of 3 ulp each; alpha and beta scale by at most 1.5.
          const double scale = std::max({1.0, std::fabs(expected[i]), std::fabs(wide[i])});
          const double allowed = 4 * 3 * 1.5 * std::numeric_limits<float>::epsilon() * scale;
          if (!(std::fabs(y[i] - expected[i]) <= allowed))
            fail(__FILE__, __LINE__, "%s(%.9g) is %.9g, expected %.9g", what.c_str(), wide[i],
                 static_cast<double>(y[i]), expected[i]);
        }
      }
    }
  }
}

TEST(unary_result_does_not_depend_on_the_place) {
  Random random(2);
  for (Isa isa : supported_isas()) {
    for (int f = 0; f < kUnaryCount; ++f) {
      const ElementwiseKernel kernel = elementwise_kernels(DType::kF32, isa).unary[f];
      if (kernel == nullptr || kUnaryRows[f].result == kBoolean) continue;
      const Domain domain = domain_of(kUnaryRows[f].name);
      const std::vector<float> x = random.floats(kMostColumns, domain.low, domain.high);
      std::vector<float> together(x.size()), alone(x.size());
      ElementwiseArgs args;
      args.alpha = 0.75;
      args.beta = 1.5;
      args.a = x.data();
      args.y = together.data();
      args.columns = kMostColumns;
      kernel(args);
      args.columns = 1;
      for (size_t i = 0; i < x.size(); ++i) {
        args.a = &x[i];
        args.y = &alone[i];
        kernel(args);
      }
      expect_same_bytes(together.data(), alone.data(), x.size(), kUnaryRows[f].name, __FILE__, __LINE__);
    }
  }
}

// Every way a row of a, b or both can be repeated, with widths on both sides of the repeated pattern.
TEST(binary_broadcasts_rows_and_elements) {
  Random random(3);
  for (Isa isa : supported_isas()) {
    for (int f = 0; f < kBinaryCount; ++f) {
      const ElementwiseKernel kernel = elementwise_kernels(DType::kF32, isa).binary[f];
      if (kernel == nullptr) continue;
      const bool boolean = kBinaryRows[f].result == kBoolean;
      for (int trial = 0; trial < 60 && failures() < 5; ++trial) {
        const int64_t rows = random.integer(1, 90), columns = random.integer(1, 70);
        ElementwiseArgs args;
        args.rows = rows;
        args.columns = columns;
        args.a_step = trial % 3 != 1;
        args.b_step = trial % 3 != 2;
        args.a_row = random.integer(0, 2) == 0 ? 0 : columns + random.integer(0, 1) * 3;
        args.b_row = random.integer(0, 2) == 0 ? 0 : columns + random.integer(0, 1) * 3;
        args.y_row = columns + random.integer(0, 1) * 3;
        const std::vector<float> a = random.floats(static_cast<size_t>(rows * (columns + 3)), 0.1f, 4);
        const std::vector<float> b = random.floats(static_cast<size_t>(rows * (columns + 3)), -3, 3);
        const size_t size = boolean ? 1 : sizeof(float), count = static_cast<size_t>(rows * args.y_row);
        std::vector<uint8_t> y(count * size, 77), expected(count * size, 77);
        args.a = a.data();
        args.b = b.data();
        args.y = y.data();
        kernel(args);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t i = 0; i < columns; ++i) {
            ElementwiseArgs single = args;
            single.rows = single.columns = 1;
            single.a = &a[static_cast<size_t>(r * args.a_row + i * args.a_step)];
            single.b = &b[static_cast<size_t>(r * args.b_row + i * args.b_step)];
            // Constant exponents have kernels of their own; here both must be the general or both the
            // constant one.
            single.a_step = args.a_step;
            single.b_step = args.b_step;
            single.a_row = args.a_row;
            single.b_row = args.b_row;
            single.y = &expected[static_cast<size_t>(r * args.y_row + i) * size];
            kernel(single);
          }
        }
        const std::string what = std::string(isa_name(isa)) + " " + kBinaryRows[f].name;
        expect_same_bytes(y.data(), expected.data(), y.size(), what.c_str(), __FILE__, __LINE__);
      }
    }
  }
}

TEST(binary_matches_double) {
  Random random(4);
  for (Isa isa : supported_isas()) {
    for (int f = 0; f < kBinaryCount; ++f) {
      const ElementwiseKernel kernel = elementwise_kernels(DType::kF32, isa).binary[f];
      if (kernel == nullptr || kBinaryRows[f].result == kBoolean) continue;
      const std::vector<float> a = random.floats(500, 0.1f, 4), b = random.floats(500, 0.5f, 3);
      const std::vector<double> wide_a = widen(a), wide_b = widen(b);
      std::vector<float> y(a.size());
      std::vector<double> expected(a.size());
      ElementwiseArgs args;
      args.columns = 500;
      args.a = a.data();
      args.b = b.data();
      args.y = y.data();
      kernel(args);
      args.a = wide_a.data();
      args.b = wide_b.data();
      args.y = expected.data();
      elementwise_kernels(DType::kF64, isa).binary[f](args);
      for (size_t i = 0; i < y.size(); ++i) {
        // Pow is good to one ulp, the others round once; the remainder of a division is exact but for its
        // sign.
        const double allowed = std::numeric_limits<float>::epsilon() * std::max(1.0, std::fabs(expected[i]));
        if (!(std::fabs(y[i] - expected[i]) <= allowed))
          fail(__FILE__, __LINE__, "%s %s(%.9g, %.9g) is %.9g, expected %.9g", isa_name(isa),
               kBinaryRows[f].name, wide_a[i], wide_b[i], static_cast<double>(y[i]), expected[i]);
      }
    }
  }
}

// Random shapes, broadcast dimensions and pitches through the operator, with one and with three threads.
TEST(broadcast_loop_matches_indices) {
  Random random(5);
  for (int trial = 0; trial < 400 && failures() < 5; ++trial) {
    const int rank = static_cast<int>(random.integer(0, 5));
    OpRun run;
    run.op = "Sub";
    run.inputs.resize(2);
    Shape out;
    // Some of them large enough to be split among threads.
    const int64_t most = trial % 10 == 0 && rank <= 3 ? 60 : 5;
    for (int i = 0; i < rank; ++i) out.push_back(random.integer(1, most));
    for (OpInput& input : run.inputs) {
      const int skip = static_cast<int>(random.integer(0, rank));
      for (int i = skip; i < rank; ++i) input.shape.push_back(random.integer(0, 2) == 0 ? 1 : out[i]);
      input.values = random.floats(static_cast<size_t>(input.shape.elements()));
      input.extra_pitch = random.integer(0, 1) * 3;
    }
    run.extra_output_pitch = random.integer(0, 1) * 2;
    EXPECT_OK(run.run());
    std::vector<float> expected;
    const auto at = [&](const OpInput& input, int64_t flat) {
      int64_t offset = 0, stride = 1;
      for (int i = run.out_shape.rank() - 1; i >= 0; --i) {
        const int64_t index = flat % run.out_shape[i];
        flat /= run.out_shape[i];
        const int k = i - (run.out_shape.rank() - input.shape.rank());
        if (k < 0) continue;
        offset += input.shape[k] == 1 ? 0 : index * stride;
        stride *= input.shape[k];
      }
      return input.values[static_cast<size_t>(offset)];
    };
    for (int64_t i = 0; i < run.out_shape.elements(); ++i)
      expected.push_back(at(run.inputs[0], i) - at(run.inputs[1], i));
    EXPECT_EQ(run.out.size(), expected.size());
    const std::string what = run.inputs[0].shape.to_string() + " - " + run.inputs[1].shape.to_string();
    if (run.out.size() == expected.size())
      expect_same_bytes(run.out.data(), expected.data(), expected.size(), what.c_str(), __FILE__, __LINE__);
    const std::vector<float> alone = run.out;
    run.threads = 3;
    EXPECT_OK(run.run());
    expect_same_bytes(run.out.data(), alone.data(), alone.size(), "three threads", __FILE__, __LINE__);
  }
}

// The output over either operand, dense and between other data, few columns and many.
TEST(in_place_equals_out_of_place) {
  Random random(6);
  for (int trial = 0; trial < 200 && failures() < 5; ++trial) {
    OpRun run;
    run.op = trial % 2 == 0 ? "Sub" : "Sigmoid";
    const Shape shape{random.integer(1, 3), random.integer(1, 70), random.integer(1, 12)};
    const int operands = trial % 2 == 0 ? 2 : 1, target = static_cast<int>(random.integer(0, operands - 1));
    for (int i = 0; i < operands; ++i) {
      OpInput input;
      input.shape = shape;
      if (i != target && random.integer(0, 1) == 0)
        input.shape = {1, random.integer(0, 1) ? shape[1] : 1, shape[2]};
      input.values = random.floats(static_cast<size_t>(input.shape.elements()));
      run.inputs.push_back(input);
    }
    const int64_t gap = random.integer(0, 1) * 5;
    run.inputs[static_cast<size_t>(target)].extra_pitch = gap;
    run.extra_output_pitch = gap;
    run.threads = trial % 3 + 1;
    EXPECT_OK(run.run());
    const std::vector<float> apart = run.out;
    run.in_place_input = target;
    EXPECT_OK(run.run());
    expect_same_bytes(run.out.data(), apart.data(), apart.size(), shape.to_string().c_str(), __FILE__,
                      __LINE__);
  }
}
