// GRPH: operators, symbols, graphs. Nothing here trusts a number before it has been checked, and nothing is
// allocated for a count that the remaining bytes cannot hold.
#include "format/graph_reader.h"

#include <algorithm>
#include <cfloat>
#include <cinttypes>
#include <cmath>

#include "core/session.h"
#include "format/unique_names.h"

namespace edgec {
namespace {

// The fewest bytes an item can take; what cursor.count() divides by.
constexpr size_t kMinOperatorBytes = 4 + 4;
constexpr size_t kMinSymbolBytes = 4 + 8 + 8;
constexpr size_t kMinTensorBytes = 4 + 1 + 1 + 1;
constexpr size_t kMinNodeBytes = 4 + 4 + 4 + 4 + 4;
constexpr size_t kMinAttributeBytes = 4 + 1 + 4;
constexpr size_t kMinGraphBytes = 5 * 4;

constexpr uint8_t kFlagQuantized = 1;
constexpr uint8_t kFlagAnyShape = 2;

// Nested control flow recurses at run time; this many levels fit every thread's stack.
constexpr uint32_t kMaxGraphDepth = 64;

// A TensorInfo is some thirty times larger than the bytes that claim it; beyond this many items memory grows
// with what has been read and found valid, not with what a count promises.
constexpr uint32_t kMaxReserve = 1 << 14;

class GraphReader {
 public:
  GraphReader(Cursor& cursor, const WeightSection& weights, Model& model)
      : cursor_(cursor), weights_(weights), model_(model) {}

  Status read() {
    EDGEC_TRY(read_operators());
    EDGEC_TRY(read_symbols());
    uint32_t graphs = 0;
    const uint64_t at = cursor_.offset();
    EDGEC_TRY(cursor_.count("graph count", kMinGraphBytes, &graphs));
    if (graphs == 0)
      return cursor_.fail(StatusCode::kBadFile, "graph count", at, "is 0, expected at least 1");
    graph_count_ = graphs;
    for (uint32_t i = 0; i < graphs; ++i) {
      model_.graphs.emplace_back();
      Status status = read_graph(i, &model_.graphs.back());
      if (!status.ok()) {
        return i == 0 ? std::move(status)
                      : std::move(status).with_context(format_string("sub-graph %" PRIu32, i));
      }
    }
    EDGEC_TRY(check_depth());
    return cursor_.finish();
  }

 private:
  Status check_depth();
  Status read_operators();
  Status read_symbols();
  Status read_graph(uint32_t index, Graph* graph);
  Status read_tensor(TensorInfo* tensor);
  Status read_constant(TensorInfo* tensor);
  Status read_quantization(TensorInfo* tensor);
  Status check_names(const Graph& graph);
  Status read_graph_inputs(Graph* graph);
  Status read_graph_outputs(Graph* graph);
  Status read_node(uint32_t graph_index, const Graph& graph, NodeInfo* node);
  Status read_node_inputs(const Graph& graph, NodeInfo* node);
  Status read_node_outputs(const Graph& graph, NodeInfo* node);
  Status read_attributes(uint32_t graph_index, NodeInfo* node);
  Status read_attribute_value(uint32_t graph_index, AttrValue* value);

  Cursor& cursor_;
  const WeightSection& weights_;
  Model& model_;
  std::vector<const OpDef*> operators_;
  size_t graph_count_ = 0;
  std::vector<std::pair<uint32_t, uint32_t>> nested_;  // graph, the sub-graph that one of its nodes names
  std::vector<uint8_t> defined_;  // per tensor of the current graph: may a node read it yet?
};

Status GraphReader::check_depth() {
  std::vector<uint32_t> depth(graph_count_, 1);
  // Sub-graphs have larger indices and were read later: from the back, every depth is final when it is used.
  for (auto it = nested_.rbegin(); it != nested_.rend(); ++it) {
    const auto [outer, inner] = *it;
    depth[outer] = std::max(depth[outer], depth[inner] + 1);
    if (depth[outer] > kMaxGraphDepth) {
      return error(StatusCode::kBadFile, "GRPH: sub-graphs are nested more than %" PRIu32 " deep",
                   kMaxGraphDepth);
    }
  }
  return ok_status();
}

Status GraphReader::read_operators() {
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("operator count", kMinOperatorBytes, &count));
  std::string missing, too_new, name;
  int missing_count = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t at = cursor_.offset();
    uint32_t version = 0;
    EDGEC_TRY(cursor_.name("operator name", &name));
    EDGEC_TRY(cursor_.read("operator version", &version));
    if (name.empty()) return cursor_.fail(StatusCode::kBadFile, "operator name", at, "is empty");
    if (version == 0)
      return cursor_.fail(StatusCode::kBadFile, "operator version", at, "is 0, expected at least 1");
    const OpDef* op = Registry::instance().find(name);
    if (op == nullptr) {
      // A list that a person can read; a hostile file could name millions.
      if (++missing_count <= 50) missing += (missing.empty() ? "" : ", ") + name;
    } else if (version > static_cast<uint32_t>(op->version) && too_new.size() < 4096) {
      too_new += format_string("%s%s version %" PRIu32 " (this runtime has %d)", too_new.empty() ? "" : ", ",
                               name.c_str(), version, op->version);
    }
    operators_.push_back(op);
  }
  if (missing_count > 0) {
    return error(StatusCode::kUnsupported,
                 "edgec %s lacks %d of the %" PRIu32
                 " operators that the model%s needs: %s%s. Update edgec, or convert "
                 "the model with this version",
                 runtime_version(), missing_count, count, written_by(model_).c_str(), missing.c_str(),
                 missing_count > 50 ? ", ..." : "");
  }
  if (!too_new.empty()) {
    return error(
        StatusCode::kVersion,
        "the model%s needs newer operators than edgec %s has: %s. Update edgec, or convert the model with "
        "this version",
        written_by(model_).c_str(), runtime_version(), too_new.c_str());
  }
  return ok_status();
}

Status GraphReader::read_symbols() {
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("symbol count", kMinSymbolBytes, &count));
  model_.symbols.reserve(std::min(count, kMaxReserve));
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t at = cursor_.offset();
    Symbol symbol;
    EDGEC_TRY(cursor_.name("symbol name", &symbol.name));
    EDGEC_TRY(cursor_.read("symbol minimum", &symbol.min));
    EDGEC_TRY(cursor_.read("symbol maximum", &symbol.max));
    if (symbol.min < 0 || symbol.max < 0 || (symbol.max != 0 && symbol.max < symbol.min)) {
      return cursor_.fail(StatusCode::kBadFile, "symbol range", at,
                          "'%s' ranges from %" PRId64 " to %" PRId64
                          ", expected 0 <= minimum <= maximum (or maximum 0 for none)",
                          symbol.name.c_str(), symbol.min, symbol.max);
    }
    model_.symbols.push_back(std::move(symbol));
  }
  return ok_status();
}

Status GraphReader::read_graph(uint32_t index, Graph* graph) {
  EDGEC_TRY(cursor_.name("graph name", &graph->name));
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("tensor count", kMinTensorBytes, &count));
  graph->tensors.reserve(std::min(count, kMaxReserve));
  defined_.assign(count, 0);
  for (uint32_t i = 0; i < count; ++i) {
    TensorInfo& tensor = graph->tensors.emplace_back();
    Status status = read_tensor(&tensor);
    if (!status.ok()) {
      return std::move(status).with_context(format_string("tensor %" PRIu32 " '%s'", i, tensor.name.c_str()));
    }
    defined_[i] = tensor.kind != TensorKind::kActivation;
  }
  EDGEC_TRY(check_names(*graph));
  EDGEC_TRY(read_graph_inputs(graph));
  EDGEC_TRY(read_graph_outputs(graph));
  EDGEC_TRY(cursor_.count("node count", kMinNodeBytes, &count));
  graph->nodes.reserve(std::min(count, kMaxReserve));
  for (uint32_t i = 0; i < count; ++i) {
    NodeInfo& node = graph->nodes.emplace_back();
    Status status = read_node(index, *graph, &node);
    if (!status.ok()) {
      return std::move(status).with_context(format_string("node %" PRIu32 " '%s'%s%s", i, node.name.c_str(),
                                                          node.op ? " " : "",
                                                          node.op ? node.op->name.c_str() : ""));
    }
  }
  for (size_t i = 0; i < defined_.size(); ++i) {
    if (!defined_[i]) {
      return error(StatusCode::kBadFile, "tensor %zu '%s': no node writes it", i,
                   graph->tensors[i].name.c_str());
    }
  }
  return ok_status();
}

Status GraphReader::read_tensor(TensorInfo* tensor) {
  const uint64_t at = cursor_.offset();
  EDGEC_TRY(cursor_.name("tensor name", &tensor->name));
  if (tensor->name.empty()) return cursor_.fail(StatusCode::kBadFile, "tensor name", at, "is empty");
  const uint64_t kind_at = cursor_.offset();
  uint8_t kind = 0, flags = 0;
  EDGEC_TRY(cursor_.read("tensor kind", &kind));
  EDGEC_TRY(cursor_.read("tensor flags", &flags));
  if (kind > static_cast<uint8_t>(TensorKind::kInput)) {
    return cursor_.fail(StatusCode::kBadFile, "tensor kind", kind_at, "is %u, expected 0, 1 or 2", kind);
  }
  const bool is_input = kind == static_cast<uint8_t>(TensorKind::kInput);
  if ((flags & ~(kFlagQuantized | (is_input ? kFlagAnyShape : 0))) != 0) {
    return cursor_.fail(StatusCode::kBadFile, "tensor flags", kind_at + 1, "has unknown bits: 0x%02X", flags);
  }
  tensor->kind = static_cast<TensorKind>(kind);
  tensor->quantized = (flags & kFlagQuantized) != 0;
  tensor->any_shape = (flags & kFlagAnyShape) != 0;
  if (tensor->kind == TensorKind::kConstant) {
    EDGEC_TRY(read_type(cursor_, 0, &tensor->dtype, &tensor->shape));
    EDGEC_TRY(read_constant(tensor));
  } else if (tensor->kind == TensorKind::kInput) {
    const uint64_t type_at = cursor_.offset();
    EDGEC_TRY(read_type(cursor_, model_.symbols.size(), &tensor->dtype, &tensor->shape));
    if (tensor->any_shape && tensor->shape.rank() != 0) {
      return cursor_.fail(StatusCode::kBadFile, "tensor flags", kind_at + 1,
                          "accepts any shape, but declares one of rank %d", tensor->shape.rank());
    }
    // Even the smallest shape the symbols permit has to be addressable.
    Shape smallest = tensor->shape;
    for (int i = 0; i < smallest.rank(); ++i) {
      if (smallest[i] < 0) smallest[i] = model_.symbols[static_cast<size_t>(-(smallest[i] + 1))].min;
    }
    if (!check_shape(tensor->dtype, smallest).ok()) {
      return cursor_.fail(StatusCode::kBadFile, "tensor shape", type_at,
                          "%s has more bytes than can be addressed", smallest.to_string().c_str());
    }
  }
  return tensor->quantized ? read_quantization(tensor) : ok_status();
}

Status GraphReader::read_constant(TensorInfo* tensor) {
  const uint64_t at = cursor_.offset();
  uint64_t offset = 0, bytes = 0, end = 0;
  EDGEC_TRY(cursor_.read("weight offset", &offset));
  EDGEC_TRY(cursor_.read("weight bytes", &bytes));
  const TensorType type{tensor->dtype, tensor->shape, nullptr};
  if (bytes != type.bytes()) {
    return cursor_.fail(StatusCode::kBadFile, "weight bytes", at + 8, "is %" PRIu64 ", but %s has %zu", bytes,
                        type.to_string().c_str(), type.bytes());
  }
  if (offset % 64 != 0) {
    return cursor_.fail(StatusCode::kBadFile, "weight offset", at, "%" PRIu64 " is not a multiple of 64",
                        offset);
  }
  if (!checked_add(offset, bytes, &end) || end > weights_.size) {
    return cursor_.fail(StatusCode::kBadFile, "weight offset", at,
                        "%" PRIu64 " bytes at %" PRIu64 " do not fit into the weight section of %zu", bytes,
                        offset, weights_.size);
  }
  tensor->data = weights_.data + offset;
  tensor->bytes = static_cast<size_t>(bytes);
  return ok_status();
}

Status GraphReader::read_quantization(TensorInfo* tensor) {
  Quantization& q = tensor->quantization;
  const uint64_t at = cursor_.offset();
  int32_t axis = 0;
  uint32_t count = 0;
  EDGEC_TRY(cursor_.read("quantization axis", &axis));
  EDGEC_TRY(cursor_.count("quantization count", 4 + 4, &count));
  const bool typed = tensor->kind != TensorKind::kActivation;
  if (axis < -1 || axis >= (typed ? tensor->shape.rank() : kMaxRank)) {
    return cursor_.fail(StatusCode::kBadFile, "quantization axis", at, "is %" PRId32 " for rank %d", axis,
                        typed ? tensor->shape.rank() : kMaxRank);
  }
  // One scale for the tensor, or one per index of the axis where its length is known here.
  const int64_t length = axis == -1 ? 1 : typed ? tensor->shape[axis] : -1;
  if (count == 0 || (length >= 0 && count != static_cast<uint64_t>(length))) {
    return cursor_.fail(StatusCode::kBadFile, "quantization count", at + 4,
                        "%" PRIu32 " scales for axis %" PRId32 " of length %" PRId64, count, axis, length);
  }
  q.axis = axis;
  q.scale.resize(count);
  q.zero_point.resize(count);
  const uint64_t scales_at = cursor_.offset();
  EDGEC_TRY(cursor_.read_array("quantization scale", count, q.scale.data()));
  EDGEC_TRY(cursor_.read_array("quantization zero point", count, q.zero_point.data()));
  int64_t low = -32768, high = 65535;  // what any quantized type can hold
  switch (tensor->dtype) {
    case DType::kI8:
      low = -128, high = 127;
      break;
    case DType::kU8:
      low = 0, high = 255;
      break;
    case DType::kI16:
      high = 32767;
      break;
    case DType::kU16:
      low = 0;
      break;
    default:
      break;
  }
  for (uint32_t i = 0; i < count; ++i) {
    // Below FLT_MIN the reciprocal, which quantization multiplies by, would be infinite.
    if (!(q.scale[i] >= FLT_MIN && q.scale[i] <= FLT_MAX)) {
      return cursor_.fail(StatusCode::kBadFile, "quantization scale", scales_at + 4ull * i,
                          "is %g, expected a positive normal number", static_cast<double>(q.scale[i]));
    }
    if (q.zero_point[i] < low || q.zero_point[i] > high) {
      return cursor_.fail(StatusCode::kBadFile, "quantization zero point", scales_at + 4ull * (count + i),
                          "is %" PRId32 ", expected %" PRId64 " to %" PRId64, q.zero_point[i], low, high);
    }
  }
  return ok_status();
}

Status GraphReader::check_names(const Graph& graph) {
  const std::string* twice = find_duplicate_name(graph.tensors);
  if (twice == nullptr) return ok_status();
  return error(StatusCode::kBadFile, "GRPH: two tensors are called '%s'", twice->c_str());
}

Status GraphReader::read_graph_inputs(Graph* graph) {
  const uint64_t at = cursor_.offset();
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("graph input count", 4, &count));
  graph->inputs.reserve(count);
  std::vector<bool> listed(graph->tensors.size());
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t index_at = cursor_.offset();
    uint32_t index = 0;
    EDGEC_TRY(cursor_.read("graph input", &index));
    if (index >= graph->tensors.size() || graph->tensors[index].kind != TensorKind::kInput || listed[index]) {
      return cursor_.fail(StatusCode::kBadFile, "graph input", index_at,
                          "%" PRIu32 " is not an input tensor, or is listed twice (%zu tensors)", index,
                          graph->tensors.size());
    }
    listed[index] = true;
    graph->inputs.push_back(static_cast<int32_t>(index));
  }
  size_t expected = 0;
  for (const TensorInfo& tensor : graph->tensors) expected += tensor.kind == TensorKind::kInput;
  if (expected != count) {
    return cursor_.fail(StatusCode::kBadFile, "graph input count", at,
                        "is %" PRIu32 ", but %zu tensors are inputs", count, expected);
  }
  return ok_status();
}

Status GraphReader::read_graph_outputs(Graph* graph) {
  const uint64_t at = cursor_.offset();
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("graph output count", 4, &count));
  if (count == 0)
    return cursor_.fail(StatusCode::kBadFile, "graph output count", at, "is 0, expected at least 1");
  graph->outputs.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t index_at = cursor_.offset();
    uint32_t index = 0;
    EDGEC_TRY(cursor_.read("graph output", &index));
    if (index >= graph->tensors.size()) {
      return cursor_.fail(StatusCode::kBadFile, "graph output", index_at, "%" PRIu32 " of %zu tensors", index,
                          graph->tensors.size());
    }
    graph->outputs.push_back(static_cast<int32_t>(index));
  }
  return ok_status();
}

Status GraphReader::read_node(uint32_t graph_index, const Graph& graph, NodeInfo* node) {
  const uint64_t at = cursor_.offset();
  uint32_t op = 0;
  EDGEC_TRY(cursor_.read("node operator", &op));
  if (op >= operators_.size()) {
    return cursor_.fail(StatusCode::kBadFile, "node operator", at, "%" PRIu32 " of %zu operators", op,
                        operators_.size());
  }
  node->op = operators_[op];
  EDGEC_TRY(cursor_.name("node name", &node->name));
  EDGEC_TRY(read_node_inputs(graph, node));
  EDGEC_TRY(read_node_outputs(graph, node));
  EDGEC_TRY(read_attributes(graph_index, node));
  return validate_node(*node);
}

Status GraphReader::read_node_inputs(const Graph& graph, NodeInfo* node) {
  const uint64_t at = cursor_.offset();
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("node input count", 4, &count));
  if (count > static_cast<uint32_t>(node->op->max_inputs())) {
    return cursor_.fail(StatusCode::kBadFile, "node input count", at, "is %" PRIu32 ", %s takes at most %d",
                        count, node->op->name.c_str(), node->op->max_inputs());
  }
  node->inputs.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t index_at = cursor_.offset();
    uint32_t index = 0;
    EDGEC_TRY(cursor_.read("node input", &index));
    if (index == UINT32_MAX) {
      node->inputs.push_back(kAbsent);
      continue;
    }
    if (index >= graph.tensors.size()) {
      return cursor_.fail(StatusCode::kBadFile, "node input", index_at, "tensor %" PRIu32 " of %zu", index,
                          graph.tensors.size());
    }
    if (!defined_[index]) {
      return cursor_.fail(StatusCode::kBadFile, "node input", index_at,
                          "reads '%s' before a node has written it; nodes have to stand in execution order",
                          graph.tensors[index].name.c_str());
    }
    node->inputs.push_back(static_cast<int32_t>(index));
  }
  return ok_status();
}

Status GraphReader::read_node_outputs(const Graph& graph, NodeInfo* node) {
  const uint64_t at = cursor_.offset();
  const std::vector<PortSpec>& ports = node->op->outputs;
  const bool variadic = !ports.empty() && ports.back().variadic;
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("node output count", 4, &count));
  if (count == 0 || (!variadic && count > ports.size())) {
    return cursor_.fail(StatusCode::kBadFile, "node output count", at, "is %" PRIu32 ", %s has 1 to %zu",
                        count, node->op->name.c_str(), ports.size());
  }
  node->outputs.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t index_at = cursor_.offset();
    uint32_t index = 0;
    EDGEC_TRY(cursor_.read("node output", &index));
    if (index == UINT32_MAX) {
      node->outputs.push_back(kAbsent);
      continue;
    }
    if (index >= graph.tensors.size() || graph.tensors[index].kind != TensorKind::kActivation) {
      return cursor_.fail(StatusCode::kBadFile, "node output", index_at,
                          "tensor %" PRIu32 " of %zu is not an activation", index, graph.tensors.size());
    }
    if (defined_[index]) {
      return cursor_.fail(StatusCode::kBadFile, "node output", index_at, "'%s' is written a second time",
                          graph.tensors[index].name.c_str());
    }
    defined_[index] = 1;
    node->outputs.push_back(static_cast<int32_t>(index));
  }
  return ok_status();
}

Status GraphReader::read_attributes(uint32_t graph_index, NodeInfo* node) {
  const uint64_t at = cursor_.offset();
  uint32_t count = 0;
  EDGEC_TRY(cursor_.count("attribute count", kMinAttributeBytes, &count));
  // Distinct known names: no more than the schema has, which also keeps the search for duplicates short.
  if (count > node->op->attrs.size()) {
    return cursor_.fail(StatusCode::kBadFile, "attribute count", at, "is %" PRIu32 ", %s has %zu", count,
                        node->op->name.c_str(), node->op->attrs.size());
  }
  node->attrs.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t name_at = cursor_.offset();
    auto& [name, value] = node->attrs.emplace_back();
    EDGEC_TRY(cursor_.name("attribute name", &name));
    for (uint32_t k = 0; k < i; ++k) {
      if (node->attrs[k].first == name) {
        return cursor_.fail(StatusCode::kBadFile, "attribute name", name_at, "'%s' occurs twice",
                            name.c_str());
      }
    }
    Status status = read_attribute_value(graph_index, &value);
    if (!status.ok()) return std::move(status).with_context("attribute '" + name + "'");
  }
  return ok_status();
}

Status GraphReader::read_attribute_value(uint32_t graph_index, AttrValue* value) {
  const uint64_t at = cursor_.offset();
  uint8_t type = 0;
  uint32_t count = 0;
  EDGEC_TRY(cursor_.read("attribute type", &type));
  value->type = static_cast<AttrType>(type);
  switch (value->type) {
    case AttrType::kInt:
      return cursor_.read("attribute value", &value->i);
    case AttrType::kFloat:
      return cursor_.read("attribute value", &value->f);
    case AttrType::kString:
      return cursor_.text("attribute value", Text::kValue, kMaxAttributeStringBytes, &value->s);
    case AttrType::kInts:
      EDGEC_TRY(cursor_.count("attribute value", sizeof(int64_t), &count));
      value->ints.resize(count);
      return cursor_.read_array("attribute value", count, value->ints.data());
    case AttrType::kFloats:
      EDGEC_TRY(cursor_.count("attribute value", sizeof(double), &count));
      value->floats.resize(count);
      return cursor_.read_array("attribute value", count, value->floats.data());
    case AttrType::kGraph: {
      uint32_t index = 0;
      EDGEC_TRY(cursor_.read("attribute value", &index));
      if (index <= graph_index || index >= graph_count_) {
        return cursor_.fail(StatusCode::kBadFile, "attribute value", at + 1,
                            "sub-graph %" PRIu32 " is not one of those after graph %" PRIu32 " (%zu graphs)",
                            index, graph_index, graph_count_);
      }
      value->i = index;
      nested_.emplace_back(graph_index, index);
      return ok_status();
    }
  }
  return cursor_.fail(StatusCode::kBadFile, "attribute type", at, "is %u, expected 1 to 6", type);
}

}  // namespace

Status read_type(Cursor& cursor, size_t symbols, DType* dtype, Shape* shape) {
  const uint64_t at = cursor.offset();
  uint8_t code = 0, rank = 0;
  EDGEC_TRY(cursor.read("dtype", &code));
  EDGEC_TRY(cursor.read("rank", &rank));
  if (!dtype_valid(code)) {
    return cursor.fail(StatusCode::kBadFile, "dtype", at, "is %u, expected 1 to %d", code, kDTypeCount - 1);
  }
  if (rank > kMaxRank) {
    return cursor.fail(StatusCode::kBadFile, "rank", at + 1, "is %u, expected at most %d", rank, kMaxRank);
  }
  *dtype = static_cast<DType>(code);
  bool symbolic = false;
  for (int i = 0; i < rank; ++i) {
    const uint64_t dim_at = cursor.offset();
    int64_t dim = 0;
    EDGEC_TRY(cursor.read("dimension", &dim));
    // -(dim + 1) cannot overflow, unlike -dim.
    if (dim < 0 && static_cast<uint64_t>(-(dim + 1)) >= symbols) {
      return cursor.fail(StatusCode::kBadFile, "dimension", dim_at, "is %" PRId64 " (%zu symbols)", dim,
                         symbols);
    }
    symbolic |= dim < 0;
    shape->push_back(dim);
  }
  if (!symbolic && !check_shape(*dtype, *shape).ok()) {
    return cursor.fail(StatusCode::kBadFile, "dimension", at + 2, "%s%s has more bytes than can be addressed",
                       dtype_name(*dtype), shape->to_string().c_str());
  }
  return ok_status();
}

Status read_graph_section(Cursor cursor, const WeightSection& weights, Model* model) {
  return GraphReader(cursor, weights, *model).read();
}

}  // namespace edgec
