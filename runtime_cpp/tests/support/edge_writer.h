// Writes .edge files for tests, straight from docs/format.md and independent of the converter's writer. It
// remembers where each field went, so that a test can damage one by name and make the checksums right again.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/attributes.h"
#include "core/tensor.h"

namespace edgec::test {

struct WriterTensor {
  std::string name;
  uint8_t kind = 0;  // 0 activation, 1 constant, 2 input
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;
  uint64_t weight_offset = 0, weight_bytes = 0;
  bool any_shape = false;  // inputs only
  bool quantized = false;
  int32_t axis = -1;
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
};

struct WriterNode {
  uint32_t op = 0;
  std::string name;
  std::vector<uint32_t> inputs, outputs;
  AttrList attrs;
};

struct WriterGraph {
  std::string name = "main";
  std::vector<WriterTensor> tensors;
  std::vector<uint32_t> inputs, outputs;
  std::vector<WriterNode> nodes;
};

struct WriterSection {
  std::string kind;
  std::vector<uint8_t> bytes;
};

// A finished file and the place of each of its fields.
struct EdgeBytes {
  struct Field {
    std::string path;  // "graph0.tensor2.dtype"
    size_t offset, width;
  };
  std::vector<uint8_t> bytes;
  std::vector<Field> fields;

  const Field* find(const std::string& path) const;
  // Overwrites a field with the low bytes of `value`. False when there is no such field.
  bool set(const std::string& path, uint64_t value);
  uint64_t get(const std::string& path) const;
  // Makes all checksums right; what a careful attacker does.
  void seal();
  const uint8_t* data() const { return bytes.data(); }
  size_t size() const { return bytes.size(); }
  size_t weights_offset() const { return get("section.WGHT.offset"); }
};

class EdgeWriter {
 public:
  std::vector<std::pair<std::string, uint32_t>> operators;
  struct SymbolSpec {
    std::string name;
    int64_t min, max;
  };
  std::vector<SymbolSpec> symbols;
  std::vector<WriterGraph> graphs = std::vector<WriterGraph>(1);
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<WriterSection> extra;  // after META, before WGHT
  std::vector<uint8_t> weights;

  // Conveniences for the main graph; each returns the tensor index.
  uint32_t input(const std::string& name, DType dtype, std::vector<int64_t> dims);
  uint32_t constant(const std::string& name, DType dtype, std::vector<int64_t> dims, const void* data);
  uint32_t constant(const std::string& name, std::vector<int64_t> dims, const std::vector<float>& values);
  uint32_t constant(const std::string& name, const std::vector<int64_t>& values);
  // A node with one output, whose index is returned. The node is called like its output.
  uint32_t node(const std::string& op, const std::string& name, std::vector<uint32_t> inputs,
                AttrList attrs = {});
  void output(uint32_t tensor) { graphs[0].outputs.push_back(tensor); }
  uint32_t op_index(const std::string& name);

  EdgeBytes write() const;
};

}  // namespace edgec::test
