// i8 activations may live as u8 = i8 + 128 between steps. What users see never depends on it.
#include "core/session.h"
#include "harness.h"
#include "support/edge_writer.h"

namespace edgec::test {
namespace {

using Ints = std::vector<int64_t>;

// f32 x[2,6,5,8] -> QuantizeLinear q -> build(q) -> DequantizeLinear, so that every i8 tensor lies inside.
struct Island {
  EdgeWriter writer;
  uint32_t scale, zero, quantized;

  Island() {
    const uint32_t x = writer.input("x", DType::kF32, {2, 6, 5, 8});
    const int8_t zero_point = -7;
    scale = writer.constant("scale", {1}, std::vector<float>{0.031f});
    zero = writer.constant("zero", DType::kI8, {1}, &zero_point);
    quantized = writer.node("QuantizeLinear", "quantized", {x, scale, zero});
  }
  uint32_t ints(const char* name, const Ints& values) { return writer.constant(name, values); }
  void finish(uint32_t y) { writer.output(writer.node("DequantizeLinear", "real", {y, scale, zero})); }
};

struct Result {
  std::vector<std::byte> bytes;
  int excess = 0;  // i8 tensors that steps write as u8
  int plain = 0;   // ... as i8
};

Result run(const EdgeWriter& writer, Isa isa, bool keep_all, int threads) {
  Result result;
  const EdgeBytes file = writer.write();
  std::shared_ptr<const Model> model;
  EXPECT_OK(Model::from_memory(file.data(), file.size(), true, LoadOptions{}, &model));
  SessionOptions options;
  options.isa = isa;
  options.keep_all = keep_all;
  options.threads = threads;
  std::unique_ptr<Session> session;
  if (model == nullptr) return result;
  EXPECT_OK(Session::create(model, options, &session));
  if (session == nullptr) return result;
  Random random(5);
  auto* x = static_cast<float*>(session->input_data(0));
  for (int64_t i = 0; i < session->input_type(0).shape.elements(); ++i) x[i] = random.uniform() * 9.0f - 4.5f;
  EXPECT_OK(session->run());
  for (int i = 0; i < session->output_count(); ++i) {
    const auto* y = static_cast<const std::byte*>(session->output_data(i));
    result.bytes.insert(result.bytes.end(), y, y + session->output_type(i).bytes());
  }
  for (const StepInfo& step : session->steps())
    for (const TensorType& type : step.outputs) {
      result.excess += type.excess128;
      result.plain += type.dtype == DType::kI8;
    }
  return result;
}

// The same bits in both forms, on every ISA and with one and two threads. Returns what the best ISA stored.
Result same_everywhere(const EdgeWriter& writer) {
  const Result expected = run(writer, Isa::scalar, true, 1);
  EXPECT(!expected.bytes.empty());
  EXPECT_EQ(expected.excess, 0);
  Result last;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!isa_supported(isa)) continue;
    for (int threads : {1, 2}) {
      last = run(writer, isa, false, threads);
      EXPECT_EQ(last.bytes.size(), expected.bytes.size());
      if (last.bytes.size() == expected.bytes.size())
        EXPECT_SAME(last.bytes.data(), expected.bytes.data(), expected.bytes.size());
      EXPECT_EQ(isa_stores_excess128(isa) ? 0 : last.excess, 0);
    }
    const Result kept = run(writer, isa, true, 1);
    EXPECT_EQ(kept.excess, 0);
  }
  return last;
}

bool stores_u8() {
  for (int i = 0; i < kIsaCount; ++i)
    if (isa_supported(static_cast<Isa>(i)) && isa_stores_excess128(static_cast<Isa>(i))) return true;
  return false;
}

// Every i8 tensor of the island is stored as u8 where the ISA likes that.
void all_excess(Island* island, uint32_t y) {
  island->finish(y);
  const Result last = same_everywhere(island->writer);
  if (stores_u8()) EXPECT_EQ(last.plain, 0);
  if (stores_u8()) EXPECT(last.excess > 0);
}

TEST(movements) {
  const Ints perm = {0, 3, 1, 2};
  Island i;
  EdgeWriter& w = i.writer;
  uint32_t t = w.node("Transpose", "transposed", {i.quantized}, {{"perm", perm}});
  t = w.node("Reshape", "reshaped", {t, i.ints("shape", {2, 8, 30})});
  t = w.node("Identity", "same", {t});
  t = w.node("Unsqueeze", "unsqueezed", {t}, {{"axes", Ints{1}}});
  t = w.node("Squeeze", "squeezed", {t}, {{"axes", Ints{1}}});
  t = w.node("Flatten", "flat", {t}, {{"axis", 1}});
  t = w.node("Slice", "sliced",
             {t, i.ints("starts", {3}), i.ints("ends", {200}), i.ints("axes", {1}), i.ints("steps", {2})});
  t = w.node("Gather", "gathered", {t, i.ints("indices", {1, 0, 1, 1})}, {{"axis", 0}});
  t = w.node("Tile", "tiled", {t, i.ints("repeats", {1, 2})});
  t = w.node("Unsqueeze", "again", {t}, {{"axes", Ints{0}}});
  t = w.node("Expand", "expanded", {t, i.ints("wide", {3, 4, 198})});
  all_excess(&i, t);
}

TEST(windows_and_extrema) {
  Island i;
  EdgeWriter& w = i.writer;
  const Ints kernel = {3, 3}, pads = {1, 1, 1, 1};
  uint32_t t = w.node("MaxPool2d", "pooled", {i.quantized},
                      {{"kernel", kernel}, {"pads", pads}, {"strides", Ints{2, 1}}});
  t = w.node("Resize", "resized", {t}, {{"mode", "nearest"}, {"sizes", Ints{2, 7, 9, 8}}});
  t = w.node("ReduceMax", "greatest", {t}, {{"axes", Ints{1}}});
  const uint32_t least = w.node("ReduceMin", "least", {t}, {{"axes", Ints{2}}});
  w.output(w.node("ArgMax", "where", {t}, {{"axis", 3}}));
  all_excess(&i, least);
}

TEST(extrapolation_means_the_same) {
  Island i;
  std::vector<double> region = {0, -0.5, -0.25, 0, 1, 1.5, 1, 1};
  const uint32_t t = i.writer.node("Resize", "cropped", {i.quantized},
                                   {{"mode", "nearest"},
                                    {"coordinate", "tf_crop_and_resize"},
                                    {"roi", region},
                                    {"extrapolation", -100.0},
                                    {"sizes", Ints{2, 8, 8, 8}}});
  all_excess(&i, t);
}

TEST(parts_and_padding) {
  Island i;
  EdgeWriter& w = i.writer;
  const int8_t value = -3;
  const uint32_t fill = w.constant("fill", DType::kI8, {}, &value);
  const uint32_t padded =
      w.node("Pad", "padded", {i.quantized, i.ints("pads", {0, 1, 0, 2, 0, 0, 1, 0}), fill});
  const uint32_t zeros = w.node("Pad", "zeros", {i.quantized, i.ints("more", {0, 1, 0, 2, 0, 0, 1, 0})});
  all_excess(&i, w.node("Concat", "joined", {padded, zeros}, {{"axis", 3}}));
}

TEST(integer_arithmetic) {
  Island i;
  EdgeWriter& w = i.writer;
  std::vector<int8_t> table(256), constant(8);
  for (int k = 0; k < 256; ++k) table[static_cast<size_t>(k)] = static_cast<int8_t>(127 - k);
  for (int k = 0; k < 8; ++k) constant[static_cast<size_t>(k)] = static_cast<int8_t>(31 * k - 128);
  const uint32_t looked =
      w.node("Lookup", "looked", {i.quantized, w.constant("table", DType::kI8, {256}, table.data())});
  const AttrList scales = {
      {"a_scale", 0.25}, {"b_scale", 0.5}, {"y_scale", 0.75}, {"a_zero_point", 9}, {"y_zero_point", -20}};
  uint32_t t = w.node("QuantizedAdd", "sum", {looked, i.quantized}, scales);
  t = w.node("QuantizedMul", "product", {t, w.constant("constant", DType::kI8, {8}, constant.data())},
             scales);
  const AttrList one = {{"x_scale", 0.5}, {"y_scale", 0.3}, {"x_zero_point", -11}, {"y_zero_point", 4}};
  AttrList window = one;
  window.push_back({"kernel", Ints{2, 3}});
  t = w.node("QuantizedAvgPool2d", "average", {t}, window);
  AttrList mean = one;
  mean.push_back({"axes", Ints{1}});
  w.output(w.node("QuantizedReduceMean", "mean", {t}, mean));  // an output stays i8
  i.finish(w.node("QuantizedLayerNorm", "norm", {t}, one));
  const Result last = same_everywhere(w);
  if (stores_u8()) EXPECT_EQ(last.plain, 1);
}

// One operator that knows nothing of u8 keeps the whole group that it touches as i8, and only that.
TEST(other_operators_see_i8) {
  Island i;
  EdgeWriter& w = i.writer;
  const uint32_t moved = w.node("Transpose", "moved", {i.quantized}, {{"perm", Ints{0, 2, 1, 3}}});
  const uint32_t positive = w.node("Abs", "positive", {moved});
  const AttrList one = {{"x_scale", 0.5}, {"y_scale", 0.3}, {"x_zero_point", -11}, {"y_zero_point", 4}};
  i.finish(w.node("Requantize", "free", {positive}, one));
  const Result last = same_everywhere(w);
  if (stores_u8()) {
    EXPECT_EQ(last.plain, 3);  // quantized, moved, positive
    EXPECT_EQ(last.excess, 1);
  }
}

}  // namespace
}  // namespace edgec::test
