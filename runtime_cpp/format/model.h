// A loaded model: the validated graph, and weights that stay where the file is mapped. Immutable after
// load; any number of sessions and threads share it.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/op.h"

namespace edgec {

// A named dimension with its permitted range; max 0 = no upper bound.
struct Symbol {
  std::string name;
  int64_t min = 1, max = 0;
};

enum class TensorKind : uint8_t { kActivation = 0, kConstant = 1, kInput = 2 };

struct TensorInfo {
  std::string name;
  TensorKind kind = TensorKind::kActivation;
  // Known for constants and inputs; kNone for activations, whose types the operators infer.
  // A negative dimension -(i + 1) of an input is symbol i.
  DType dtype = DType::kNone;
  Shape shape;
  const std::byte* data = nullptr;  // constants: 64-byte aligned inside the file
  size_t bytes = 0;
  bool any_shape = false;  // inputs: neither rank nor dimensions are declared
  bool quantized = false;
  Quantization quantization;
};

inline constexpr int32_t kAbsent = -1;

struct NodeInfo {
  const OpDef* op = nullptr;
  std::string name;
  std::vector<int32_t> inputs, outputs;  // tensor indices of this graph, kAbsent for an omitted optional
  AttrList attrs;                        // validated against op->attrs
};

// Nodes stand in topological order: every input is a constant, a graph input or an earlier output.
struct Graph {
  std::string name;
  std::vector<TensorInfo> tensors;
  std::vector<int32_t> inputs, outputs;
  std::vector<NodeInfo> nodes;
};

// A section as the file's table lists it; sizes and checksums have been validated.
struct SectionInfo {
  std::string kind;  // "GRPH", "WGHT", "META", "GOLD", or an optional one (lower-case first letter)
  uint64_t offset = 0, size = 0;
  uint32_t checksum = 0;
};

// A golden tensor; `data` points into the file and has no particular alignment.
struct GoldenTensor {
  std::string name;
  DType dtype = DType::kNone;
  Shape shape;
  const std::byte* data = nullptr;
  size_t bytes = 0;
};

struct GoldenSample {
  std::vector<GoldenTensor> inputs, outputs;
  std::vector<std::pair<std::string, uint64_t>> digests;  // tensor name, digest of its value
};

struct LoadOptions {
  // Also check the weight section's checksum and the zero bytes between weights (costs a pass over it).
  bool verify_weights = false;
  size_t max_file_size = 0;  // 0 = no limit
};

class Model {
 public:
  // The only ways in; both run the same checks. The file stays mapped while the model lives.
  static Status open(const char* path, const LoadOptions& options, std::shared_ptr<const Model>* out);
  // copy: false = the caller keeps `data` (64-byte aligned) alive and unchanged.
  static Status from_memory(const void* data, size_t size, bool copy, const LoadOptions& options,
                            std::shared_ptr<const Model>* out);
  ~Model();

  const Graph& graph() const { return graphs[0]; }

  std::vector<Graph> graphs;  // [0] is the main graph; attributes of type kGraph index the others
  std::vector<Symbol> symbols;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<SectionInfo> sections;  // in file order
  std::vector<GoldenSample> golden;
  int format_major = 0, format_minor = 0;
  size_t file_bytes = 0;
  size_t weight_bytes = 0;  // of the weight section

  // What holds the bytes (mapping or copy); drop_pages tells the system that [data, data+bytes) has been
  // packed and need not stay resident.
  struct Storage;
  std::unique_ptr<Storage> storage;
  void drop_pages(const void* data, size_t bytes) const;
};

}  // namespace edgec
