// Pools, resize, softmax, normalisations and reductions: any pitch and any number of threads give the same
// bits, and every instruction set agrees with scalar. What the values should be is tested from Python.
#include <limits>

#include "harness.h"
#include "support/op_runner.h"

namespace edgec::test {
namespace {

using Ints = std::vector<int64_t>;

struct OpCase {
  const char* op;
  AttrList attrs;
  Shape shape;
  int parameters = 0;  // extra inputs with one value per channel
  bool pitched = true;
};

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  // Channels around a vector and a chunk of columns of every instruction set.
  for (int64_t c : {1, 3, 4, 15, 16, 17, 63, 64, 65, 131}) {
    const Shape image{2, 7, 6, c};
    list.push_back(
        {"MaxPool2d", {{"kernel", Ints{3, 2}}, {"strides", Ints{2, 1}}, {"pads", Ints{1, 1, 0, 1}}}, image});
    list.push_back(
        {"AvgPool2d", {{"kernel", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}, {"ceil_mode", 1}}, image});
    for (const char* mode : {"nearest", "linear", "cubic"}) {
      list.push_back({"Resize", {{"mode", mode}, {"sizes", Ints{2, 14, 9, c}}}, image});
      list.push_back({"Resize", {{"mode", mode}, {"sizes", Ints{2, 7, 4, c}}}, image});
      list.push_back({"Resize", {{"mode", mode}, {"sizes", Ints{3, 5, 6, c}}}, image});
      list.push_back({"Resize", {{"mode", mode}, {"sizes", Ints{2, 3, 6, c + 1}}}, image});
      list.push_back({"Resize", {{"mode", mode}, {"sizes", Ints{3, 9, 8, c + 2}}}, image});
    }
    for (const char* op : {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp"})
      for (const Ints& axes : {Ints{1, 2}, Ints{3}, Ints{2}, Ints{0, 3}, Ints{0, 2}, Ints{}, Ints{1, 2, 3}})
        for (int keep : {0, 1}) list.push_back({op, {{"axes", axes}, {"keepdims", keep}}, image});
    list.push_back({"GroupNorm", {{"groups", 1}}, Shape{2, 200, c}, 2});
    list.push_back({"GroupNorm", {{"groups", c}}, image, 2});
    list.push_back({"Softmax", {}, image, 0, false});
    list.push_back({"Softmax", {{"axis", 1}}, image, 0, false});
    list.push_back({"LogSoftmax", {{"axis", 2}}, image, 0, false});
    list.push_back({"LayerNorm", {}, image, 2, false});
    list.push_back({"RMSNorm", {}, image, 1, false});
    list.push_back({"LocalResponseNorm", {{"size", 5}}, image, 0, false});
    list.push_back({"CumSum", {{"axis", 1}}, image, 0, false});
  }
  // Rows beyond one block and long rows.
  list.push_back({"ReduceMean", {{"axes", Ints{1, 2}}}, Shape{1, 20, 20, 70}});
  list.push_back({"ReduceSum", {}, Shape{3, 5000}});
  list.push_back({"Softmax", {}, Shape{5, 4099}, 0, false});
  return list;
}

OpRun make_run(const OpCase& c, Random& random) {
  OpRun run;
  run.op = c.op;
  run.attrs = c.attrs;
  OpInput x;
  x.shape = c.shape;
  x.values = random.floats(static_cast<size_t>(c.shape.elements()), -3, 3);
  run.inputs.push_back(x);
  for (int i = 0; i < c.parameters; ++i) {
    OpInput parameter;
    parameter.shape = Shape{c.shape.back()};
    parameter.values = random.floats(static_cast<size_t>(c.shape.back()), 0.5f, 2);
    parameter.constant = true;
    run.inputs.push_back(parameter);
  }
  return run;
}

TEST(nn_bits_do_not_depend_on_pitch_or_threads) {
  Random random(1);
  for (const OpCase& c : cases()) {
    for (Isa isa : supported_isas()) {
      if (failures() > 5) return;
      OpRun base = make_run(c, random);
      base.isa = isa;
      REQUIRE_OK(base.run());
      for (int threads : {1, 2, 3}) {
        for (int64_t pitch : {0, 1, 19}) {
          if (pitch > 0 && !c.pitched) continue;
          OpRun other = base;
          other.threads = threads;
          other.inputs[0].extra_pitch = pitch;
          other.extra_output_pitch = pitch == 0 ? 0 : 20 - pitch;
          REQUIRE_OK(other.run());
          // A pitch may choose another split of the axes (columns one row at a time), and so another order.
          if (std::strncmp(c.op, "Reduce", 6) == 0 && pitch > 0) {
            const double count = static_cast<double>(c.shape.elements());
            const double bound = std::strcmp(c.op, "ReduceSum") == 0 ? 3 * count : 3 * std::sqrt(count);
            EXPECT_CLOSE(other.out.data(), base.out.data(), base.out.size(),
                         8 * bound * static_cast<double>(std::numeric_limits<float>::epsilon()));
          } else {
            EXPECT_SAME(other.out.data(), base.out.data(), base.out.size());
          }
          if (failures() > 0) {
            fail(__FILE__, __LINE__, "that was %s %s on %s, %d threads, pitch +%d, kernel %s", c.op,
                 c.shape.to_string().c_str(), isa_name(isa), threads, static_cast<int>(pitch),
                 other.kernel.c_str());
            return;
          }
        }
      }
    }
  }
}

TEST(nn_instruction_sets_agree) {
  Random random(2);
  for (const OpCase& c : cases()) {
    OpRun base = make_run(c, random);
    base.isa = Isa::scalar;
    REQUIRE_OK(base.run());
    double largest = 1;
    for (float v : base.out) largest = std::max(largest, static_cast<double>(std::fabs(v)));
    for (Isa isa : supported_isas()) {
      OpRun other = base;
      other.isa = isa;
      REQUIRE_OK(other.run());
      // Fused and unfused products differ by half an ulp per term; no case sums more than 32 per lane
      // before it goes to double precision, and cubic has 16 taps of total weight below 9.
      const double tolerance = 64 * largest * static_cast<double>(std::numeric_limits<float>::epsilon());
      EXPECT_CLOSE(other.out.data(), base.out.data(), base.out.size(), tolerance);
      if (failures() > 0) {
        fail(__FILE__, __LINE__, "that was %s %s on %s", c.op, c.shape.to_string().c_str(), isa_name(isa));
        return;
      }
    }
  }
}

}  // namespace
}  // namespace edgec::test
