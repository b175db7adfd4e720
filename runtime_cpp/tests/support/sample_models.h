// Small valid models for the tests of format, session and C ABI.
#pragma once
#include "support/edge_writer.h"

namespace edgec::test {

// x[batch,4,4,2] -> Add(bias) -> Relu -> MaxPool2d -> Reshape -> y[batch,8]; batch is a symbol from 1 to 64.
// Has metadata, a quantized activation, a shape constant, and attributes of types ints and int.
inline EdgeWriter sample_model() {
  EdgeWriter w;
  w.symbols.push_back({"batch", 1, 64});
  w.metadata = {{"producer", "edgec 9.9.9"}, {"labels", "cat\ndog"}};
  const uint32_t x = w.input("x", DType::kF32, {-1, 4, 4, 2});
  const uint32_t bias = w.constant("bias", {2}, {0.5f, -0.25f});
  const uint32_t shape = w.constant("shape", {-1, 8});
  const uint32_t sum = w.node("Add", "sum", {x, bias});
  const uint32_t relu = w.node("Relu", "relu", {sum});
  const uint32_t pool =
      w.node("MaxPool2d", "pool", {relu},
             {{"kernel", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  const uint32_t y = w.node("Reshape", "y", {pool, shape});
  WriterTensor& quantized = w.graphs[0].tensors[relu];
  quantized.quantized = true;
  quantized.scale = {0.5f};
  quantized.zero_point = {-3};
  w.output(y);
  return w;
}

}  // namespace edgec::test
