#include "support/op_models.h"

#include <algorithm>
#include <functional>

#include "core/session.h"
#include "format/model.h"

namespace edgec::test {
namespace {

using Ints = std::vector<int64_t>;

// Collects the operands of one node under construction.
class Builder {
 public:
  EdgeWriter w;
  std::vector<uint32_t> operands;

  Builder& x(Ints dims, DType dtype = DType::kF32) {
    operands.push_back(w.input("x" + std::to_string(operands.size()), dtype, std::move(dims)));
    return *this;
  }
  // Constants that vary a little.
  Builder& weights(Ints dims) {
    size_t count = 1;
    for (int64_t d : dims) count *= static_cast<size_t>(d);
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 7) * 0.25f - 0.75f;
    operands.push_back(w.constant("w" + std::to_string(operands.size()), std::move(dims), values));
    return *this;
  }
  Builder& ints(const Ints& values) {
    operands.push_back(w.constant("i" + std::to_string(operands.size()), values));
    return *this;
  }
  Builder& quantized(Ints dims, DType dtype = DType::kI8) {
    size_t bytes = dtype_size(dtype);
    for (int64_t d : dims) bytes *= static_cast<size_t>(d);
    std::vector<uint8_t> values(bytes);
    for (size_t i = 0; i < bytes; ++i) values[i] = static_cast<uint8_t>(37 * i);
    operands.push_back(
        w.constant("q" + std::to_string(operands.size()), dtype, std::move(dims), values.data()));
    return *this;
  }
  Builder& scalar(int64_t value) {
    operands.push_back(w.constant("s" + std::to_string(operands.size()), DType::kI64, {}, &value));
    return *this;
  }
  Builder& scalar_float(float value) {
    operands.push_back(w.constant("s" + std::to_string(operands.size()), DType::kF32, {}, &value));
    return *this;
  }
  Builder& floats(const std::vector<float>& values) {
    operands.push_back(
        w.constant("f" + std::to_string(operands.size()), {static_cast<int64_t>(values.size())}, values));
    return *this;
  }
  Builder& absent() {
    operands.push_back(UINT32_MAX);
    return *this;
  }
  Builder& done(const std::string& op, AttrList attrs = {}, int outputs = 1) {
    const uint32_t y = w.node(op, "y", operands, std::move(attrs));
    w.output(y);
    for (int i = 1; i < outputs; ++i) {
      WriterTensor tensor;
      tensor.name = "y" + std::to_string(i);
      w.graphs[0].tensors.push_back(tensor);
      w.graphs[0].nodes[0].outputs.push_back(y + static_cast<uint32_t>(i));
      w.output(y + static_cast<uint32_t>(i));
    }
    return *this;
  }
};

// A sub-graph whose inputs are f32 of any shape, except where `dtypes` says otherwise.
WriterGraph sub_graph(EdgeWriter& w, const std::vector<DType>& inputs, const std::string& op,
                      std::vector<uint32_t> operands, std::vector<uint32_t> outputs) {
  WriterGraph graph;
  graph.name = "body";
  for (size_t i = 0; i < inputs.size(); ++i) {
    WriterTensor tensor;
    tensor.name = "in" + std::to_string(i);
    tensor.kind = 2;
    tensor.dtype = inputs[i];
    tensor.any_shape = true;
    graph.tensors.push_back(tensor);
    graph.inputs.push_back(static_cast<uint32_t>(i));
  }
  WriterTensor out;
  out.name = "out";
  graph.tensors.push_back(out);
  graph.nodes.push_back(
      {w.op_index(op), "body_node", std::move(operands), {static_cast<uint32_t>(inputs.size())}, {}});
  graph.outputs = std::move(outputs);
  return graph;
}

void add_control_flow(const std::function<void(const std::string&, Builder)>& add) {
  {
    Builder b;
    b.x({1}, DType::kBool).x({2, 3});
    b.done("If", {{"then_branch", AttrValue::graph(1)}, {"else_branch", AttrValue::graph(2)}});
    b.w.graphs.push_back(sub_graph(b.w, {DType::kF32}, "Relu", {0}, {1}));
    b.w.graphs.push_back(sub_graph(b.w, {DType::kF32}, "Neg", {0}, {1}));
    add("If", b);
  }
  {
    Builder b;
    b.scalar(3).absent().x({2, 3});
    b.done("Loop", {{"body", AttrValue::graph(1)}, {"carried", 1}}, 2);
    // iteration, condition, value -> condition, value + value, value + value stacked
    b.w.graphs.push_back(sub_graph(b.w, {DType::kI64, DType::kBool, DType::kF32}, "Add", {2, 2}, {1, 3, 3}));
    add("Loop", b);
  }
  {
    Builder b;
    b.x({3}).x({4, 3});
    b.done("Scan", {{"body", AttrValue::graph(1)}, {"carried", 1}, {"scan_inputs", 1}}, 2);
    b.w.graphs.push_back(sub_graph(b.w, {DType::kF32, DType::kF32}, "Add", {0, 1}, {2, 2}));
    add("Scan", b);
  }
}

void add_listed(const std::function<void(const std::string&, Builder)>& add) {
  const auto make = [&](const std::string& name, Builder b) { add(name, std::move(b)); };
  const Ints image = {1, 6, 5, 4}, two = {2, 2}, one = {1, 1, 1, 1};
  make("Conv2d", Builder()
                     .x(image)
                     .weights({6, 3, 3, 4})
                     .weights({6})
                     .done("Conv2d", {{"pads", one}, {"strides", two}, {"activation", "relu"}}));
  make("Conv2d grouped", Builder().x(image).weights({4, 3, 3, 2}).done("Conv2d", {{"group", 2}}));
  make("Conv2d depthwise",
       Builder().x(image).weights({4, 3, 3, 1}).done("Conv2d", {{"group", 4}, {"pads", one}}));
  make("Conv2d residual",
       Builder()
           .x(image)
           .weights({4, 1, 1, 4})
           .absent()
           .x(image)
           .done("Conv2d", {{"residual_mode", "after"}, {"activation", "clip"}, {"activation_beta", 6.0}}));
  make("ConvTranspose2d", Builder()
                              .x(image)
                              .weights({6, 3, 3, 4})
                              .weights({6})
                              .done("ConvTranspose2d", {{"strides", two}, {"output_padding", Ints{1, 0}}}));
  make("MatMul",
       Builder().x({2, 3, 5}).weights({5, 7}).weights({7}).done("MatMul", {{"activation", "gelu"}}));
  make("MatMul activations", Builder().x({2, 3, 5}).x({2, 4, 5}).done("MatMul", {{"transpose_b", 1}}));
  make("Attention",
       Builder().x({1, 2, 3, 4}).x({1, 2, 5, 4}).x({1, 2, 5, 4}).done("Attention", {{"causal", 1}}));
  make("MaxPool2d",
       Builder().x(image).done("MaxPool2d", {{"kernel", Ints{3, 2}}, {"strides", two}, {"pads", one}}));
  make("AvgPool2d",
       Builder().x(image).done("AvgPool2d", {{"kernel", Ints{2, 3}}, {"strides", two}, {"ceil_mode", 1}}));
  make("Resize", Builder().x(image).ints({1, 9, 3, 4}).done("Resize", {{"mode", "linear"}}));
  make("Resize cubic",
       Builder().x(image).absent().floats({1, 1.5f, 2, 1}).done("Resize", {{"mode", "cubic"}}));
  make("GroupNorm", Builder().x(image).weights({4}).weights({4}).done("GroupNorm", {{"groups", 2}}));
  make("LayerNorm", Builder().x({3, 8}).weights({8}).weights({8}).done("LayerNorm"));
  make("LocalResponseNorm", Builder().x(image).done("LocalResponseNorm", {{"size", 3}}));
  make("TopK", Builder().x({3, 8}).ints({2}).done("TopK", {}, 2));
  make("Cast", Builder().x({2, 3}).done("Cast", {{"to", "i8"}}));
  make("BitCast", Builder().x({2, 3}).done("BitCast", {{"to", "i32"}}));
  make("GridSample", Builder().x({1, 2, 4, 5}).x({1, 3, 2, 2}).done("GridSample", {{"mode", "cubic"}}));
  make("NonMaxSuppression",
       Builder().x({1, 4, 4}).x({1, 2, 4}).scalar(3).scalar_float(0.5f).done("NonMaxSuppression"));
  make("RoiAlign", Builder()
                       .x({1, 2, 4, 5})
                       .x({3, 4})
                       .x({3}, DType::kI64)
                       .done("RoiAlign", {{"output_height", 2}, {"output_width", 2}}));
  make("BitShift", Builder().x({3}, DType::kU8).x({3}, DType::kU8).done("BitShift", {{"direction", "LEFT"}}));
  make("Where", Builder().x({3, 1}, DType::kBool).x({2, 1, 4}).x({1}).done("Where"));
  make("Transpose", Builder().x({2, 3, 4}).done("Transpose", {{"perm", Ints{2, 0, 1}}}));
  make("Reshape", Builder().x({2, 6}).ints({3, -1}).done("Reshape"));
  make("Reshape fed", Builder().x({2, 6}).x({2}, DType::kI64).done("Reshape"));
  make("Unsqueeze", Builder().x({2, 3}).done("Unsqueeze", {{"axes", Ints{0, -1}}}));
  make("Squeeze", Builder().x({1, 3, 1}).done("Squeeze", {{"axes", Ints{0}}}));
  make("Concat", Builder().x({2, 3}).x({2, 1}).weights({2, 2}).done("Concat", {{"axis", 1}}));
  make("Split", Builder().x({2, 6}).done("Split", {{"axis", 1}, {"sizes", Ints{4, 2}}}, 2));
  make("Slice",
       Builder().x({4, 5}).ints({3, 0}).ints({INT64_MIN, 4}).ints({0, 1}).ints({-2, 1}).done("Slice"));
  make("Gather", Builder().x({4, 5}).x({2, 2}, DType::kI64).done("Gather", {{"axis", 1}}));
  make("GatherElements", Builder().x({4, 5}).x({2, 5}, DType::kI64).done("GatherElements"));
  make("GatherND", Builder().x({4, 5}).x({3, 2}, DType::kI32).done("GatherND"));
  make("ScatterElements",
       Builder().x({4, 5}).x({2, 5}, DType::kI64).x({2, 5}).done("ScatterElements", {{"reduction", "add"}}));
  make("ScatterND",
       Builder().x({4, 5}).x({3, 1}, DType::kI64).x({3, 5}).done("ScatterND", {{"reduction", "max"}}));
  make("Pad", Builder().x({4, 5}).ints({1, 2, 0, 3}).done("Pad", {{"mode", "reflect"}}));
  make("Expand", Builder().x({3, 1}).ints({2, 3, 4}).done("Expand"));
  make("Tile", Builder().x({3, 2}).ints({2, 3}).done("Tile"));
  make("ConstantOfShape", Builder().x({2}, DType::kI64).done("ConstantOfShape", {{"value", 2.0}}));
  make("Range", Builder().scalar(0).scalar(10).scalar(3).done("Range"));
  make("Range fed", Builder().x({}).x({}).scalar_float(2).done("Range"));
  make("OneHot", Builder().x({3}, DType::kI64).ints({4}).floats({0, 1}).done("OneHot"));
  make("EyeLike", Builder().x({3, 4}).done("EyeLike", {{"k", 1}}));
  make("QuantizeLinear", Builder().x({2, 3}).floats({0.5f, 0.25f, 2}).done("QuantizeLinear"));
  make("DequantizeLinear", Builder().x({2, 3}, DType::kI8).floats({0.5f, 0.25f, 2}).done("DequantizeLinear"));
  make("Trilu", Builder().x({3, 4}).ints({1}).done("Trilu"));
  make("NonZero", Builder().x({3, 4}).done("NonZero"));
  make("CumSum", Builder().x({3, 4}).ints({1}).done("CumSum", {{"reverse", 1}}));
  make("LSTM", Builder()
                   .x({3, 2, 4})
                   .weights({1, 20, 4})
                   .weights({1, 20, 5})
                   .weights({1, 40})
                   .done("LSTM", {{"hidden_size", 5}}, 3));
  make("GRU", Builder()
                  .x({3, 2, 4})
                  .weights({2, 15, 4})
                  .weights({2, 15, 5})
                  .done("GRU", {{"hidden_size", 5}, {"direction", "bidirectional"}}, 2));
  make("RNN",
       Builder().x({3, 2, 4}).weights({1, 5, 4}).weights({1, 5, 5}).done("RNN", {{"hidden_size", 5}}, 2));
}

void add_quantized(const std::function<void(const std::string&, Builder)>& add) {
  const Ints image = {1, 6, 5, 4}, two = {2, 2}, one = {1, 1, 1, 1};
  const auto bytes = [](const Ints& dims) { return Builder().x(dims, DType::kI8); };
  const std::vector<float> four(4, 0.5f), six(6, 0.25f);
  add("QuantizedConv2d", bytes(image)
                             .quantized({6, 3, 3, 4})
                             .floats(six)
                             .quantized({6}, DType::kI32)
                             .done("QuantizedConv2d", {{"pads", one}, {"strides", two}, {"y_scale", 300.0}}));
  add("QuantizedConv2d residual", bytes(image)
                                      .quantized({4, 1, 1, 4})
                                      .floats({1})
                                      .absent()
                                      .x(image, DType::kI8)
                                      .done("QuantizedConv2d", {{"residual_scale", 0.5}, {"minimum", 0}}));
  add("QuantizedConv2d depthwise", bytes(image)
                                       .quantized({4, 3, 3, 1})
                                       .floats(four)
                                       .done("QuantizedConv2d", {{"group", 4}, {"pads", one}}));
  add("QuantizedConv2d grouped", bytes(image)
                                     .quantized({4, 3, 3, 2})
                                     .floats(four)
                                     .done("QuantizedConv2d", {{"group", 2}, {"to", "f32"}}));
  add("QuantizedConvTranspose2d",
      bytes(image)
          .quantized({6, 3, 3, 4})
          .floats(six)
          .quantized({6}, DType::kI32)
          .done("QuantizedConvTranspose2d", {{"strides", two}, {"output_padding", Ints{1, 0}}}));
  add("QuantizedMatMul", bytes({2, 3, 4})
                             .quantized({4, 6})
                             .floats(six)
                             .quantized({6}, DType::kI32)
                             .done("QuantizedMatMul", {{"a_zero_point", -7}}));
  add("QuantizedMatMul activations",
      bytes({2, 3, 4})
          .x({2, 5, 4}, DType::kI8)
          .floats({1})
          .done("QuantizedMatMul", {{"transpose_b", 1}, {"b_zero_point", 3}, {"to", "i32"}}));
  add("QuantizedAvgPool2d",
      bytes(image).done("QuantizedAvgPool2d", {{"kernel", Ints{2, 3}}, {"ceil_mode", 1}}));
  add("QuantizedReduceMean", bytes(image).done("QuantizedReduceMean", {{"axes", Ints{1, 2}}}));
  add("Lookup", bytes(image).quantized({256}).done("Lookup"));
  add("Lookup per channel", bytes(image).quantized({4, 256}).done("Lookup"));
  add("QuantizedSoftmax", bytes({3, 8}).quantized({256}, DType::kI32).done("QuantizedSoftmax"));
  add("QuantizedLayerNorm", bytes({3, 4}).floats(four).floats(four).done("QuantizedLayerNorm"));
  add("QuantizedResize", bytes(image).ints({1, 9, 3, 4}).done("QuantizedResize", {{"mode", "linear"}}));
}

bool prepares(const EdgeBytes& file) {
  std::shared_ptr<const Model> model;
  if (!Model::from_memory(file.data(), file.size(), true, LoadOptions{}, &model).ok()) return false;
  std::unique_ptr<Session> session;
  return Session::create(model, SessionOptions{}, &session).ok();
}

}  // namespace

std::vector<OpModel> op_models() {
  std::vector<OpModel> models;
  const auto add = [&](const std::string& name, const Builder& b) {
    EdgeBytes file = b.w.write();
    if (prepares(file)) models.push_back({name, std::move(file)});
  };
  add_listed(add);
  add_quantized(add);
  add_control_flow(add);
  for (const auto& op : Registry::instance().all()) {
    const bool listed = std::any_of(models.begin(), models.end(), [&](const OpModel& m) {
      return m.name == op->name || m.name.compare(0, op->name.size() + 1, op->name + " ") == 0;
    });
    if (listed || op->min_inputs() > 4) continue;
    for (DType dtype : {DType::kF32, DType::kI32, DType::kBool, DType::kI64, DType::kI8}) {
      Builder b;
      // The last operand broadcasts where the operator can; all alike where it cannot.
      for (int i = 0; i < std::max(op->min_inputs(), 1); ++i) b.x({2, 3, 4, 5}, dtype);
      b.done(op->name);
      EdgeBytes file = b.w.write();
      if (!prepares(file)) continue;
      models.push_back({op->name, std::move(file)});
      break;
    }
  }
  return models;
}

}  // namespace edgec::test
