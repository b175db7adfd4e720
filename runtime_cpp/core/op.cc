#include "core/op.h"

#include <climits>
#include <cstdio>

#include "core/session.h"

namespace edgec {
namespace {

const char* attr_type_name(AttrType type) {
  switch (type) {
    case AttrType::kInt:
      return "int";
    case AttrType::kFloat:
      return "float";
    case AttrType::kString:
      return "string";
    case AttrType::kInts:
      return "ints";
    case AttrType::kFloats:
      return "floats";
    case AttrType::kGraph:
      return "graph";
  }
  return "unknown";
}

bool is_choice(const std::string& choices, const std::string& value) {
  size_t start = 0;
  while (start <= choices.size()) {
    size_t end = choices.find('|', start);
    if (end == std::string::npos) end = choices.size();
    if (choices.compare(start, end - start, value) == 0) return true;
    start = end + 1;
  }
  return false;
}

std::string input_label(const OpDef& op, int i) {
  const int last = static_cast<int>(op.inputs.size()) - 1;
  if (last < 0) return format_string("input %d", i);
  return format_string("input %d ('%s')", i,
                       op.inputs[static_cast<size_t>(i < last ? i : last)].name.c_str());
}

}  // namespace

const AttrValue& NodeContext::attr(const char* name) const {
  for (const auto& [key, value] : *node_.attrs)
    if (key == name) return value;
  const AttrSpec* spec = node_.op->find_attr(name);
  if (spec == nullptr) {
    // A typo in an operator's own source; any test that touches the operator shows it.
    static const AttrValue kEmpty;
    std::fprintf(stderr, "edgec: operator %s has no attribute '%s'\n", node_.op->name.c_str(), name);
    return kEmpty;
  }
  return spec->default_value;
}

Status NodeContext::fail(StatusCode code, const char* format, ...) const {
  va_list args;
  va_start(args, format);
  char text[1024];
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return error(code, "%s '%s': %s", node_.op->name.c_str(), node_.name, text);
}

Status NodeContext::value_ints(int i, std::vector<int64_t>* out) const {
  const std::string label = input_label(*node_.op, i);
  if (!has_input(i)) return fail(StatusCode::kInvalidArgument, "%s is missing", label.c_str());
  const TensorType& type = input(i);
  const void* data = value(i);
  if (data == nullptr)
    return fail(StatusCode::kNeedsValue, "%s must be known before the run, but it depends on input data",
                label.c_str());
  if (type.dtype != DType::kI32 && type.dtype != DType::kI64)
    return fail(StatusCode::kInvalidArgument, "%s must be i32 or i64, got %s", label.c_str(),
                type.to_string().c_str());
  const int64_t n = type.shape.elements();
  out->resize(static_cast<size_t>(n));
  for (int64_t k = 0; k < n; ++k)
    (*out)[static_cast<size_t>(k)] = type.dtype == DType::kI64 ? static_cast<const int64_t*>(data)[k]
                                                               : static_cast<const int32_t*>(data)[k];
  return ok_status();
}

Status InferContext::set_output(int i, DType dtype, const Shape& shape) {
  if (!has_output(i)) return ok_status();
  Status status = check_shape(dtype, shape);
  if (!status.ok()) return fail(status.code(), "output %d: %s", i, status.message());
  output_types_[i]->dtype = dtype;
  output_types_[i]->shape = shape;
  return ok_status();
}

Status InferContext::want_dtype(int i, std::initializer_list<DType> any_of) const {
  if (!has_input(i)) return ok_status();
  std::string names;
  for (DType d : any_of) {
    if (d == input(i).dtype) return ok_status();
    names += names.empty() ? "" : ", ";
    names += dtype_name(d);
  }
  return fail(StatusCode::kUnsupported, "%s has type %s, supported: %s", input_label(op(), i).c_str(),
              input(i).to_string().c_str(), names.c_str());
}

Status InferContext::want_rank(int i, int rank) const {
  if (!has_input(i) || input(i).shape.rank() == rank) return ok_status();
  return fail(StatusCode::kShape, "%s wants %d dimensions, got %s", input_label(op(), i).c_str(), rank,
              input(i).to_string().c_str());
}

Status InferContext::normalize_axis(int64_t axis, int rank, int* out) const {
  if (axis < -rank || axis >= rank)
    return fail(StatusCode::kInvalidArgument, "axis %lld is outside [%d, %d)", static_cast<long long>(axis),
                -rank, rank);
  *out = static_cast<int>(axis < 0 ? axis + rank : axis);
  return ok_status();
}

Status InferContext::broadcast(const Shape& a, const Shape& b, Shape* out) const {
  const int rank = a.rank() > b.rank() ? a.rank() : b.rank();
  Shape result;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const int64_t da = ia >= 0 ? a[ia] : 1, db = ib >= 0 ? b[ib] : 1;
    if (da != db && da != 1 && db != 1)
      return fail(StatusCode::kShape, "shapes %s and %s do not broadcast: dimension %d is %lld against %lld",
                  a.to_string().c_str(), b.to_string().c_str(), i, static_cast<long long>(da),
                  static_cast<long long>(db));
    result.push_back(da == 1 ? db : da);
  }
  *out = result;
  return ok_status();
}

Status PrepareContext::out_of_memory(size_t bytes) const {
  return fail(StatusCode::kOutOfMemory, "%zu bytes for packed weights are not available (max_memory?)",
              bytes);
}

Status validate_node(const NodeInfo& node) {
  const OpDef& op = *node.op;
  const auto fail = [&](const std::string& what) {
    return error(StatusCode::kBadFile, "%s '%s': %s", op.name.c_str(), node.name.c_str(), what.c_str());
  };
  const int inputs = static_cast<int>(node.inputs.size());
  if (inputs < op.min_inputs() || inputs > op.max_inputs())
    return fail(
        op.max_inputs() == INT_MAX
            ? format_string("wants at least %d inputs, got %d", op.min_inputs(), inputs)
            : format_string("wants %d to %d inputs, got %d", op.min_inputs(), op.max_inputs(), inputs));
  for (int i = 0; i < inputs; ++i) {
    const size_t port = std::min(static_cast<size_t>(i), op.inputs.size() - 1);
    if (node.inputs[static_cast<size_t>(i)] == kAbsent && !op.inputs[port].optional)
      return fail(input_label(op, i) + " is missing");
  }
  const size_t outputs = node.outputs.size();
  const bool variadic = !op.outputs.empty() && op.outputs.back().variadic;
  if (outputs == 0 || (!variadic && outputs > op.outputs.size()))
    return fail(format_string("has %zu outputs, the operator gives %zu", outputs, op.outputs.size()));
  bool any = false;
  for (int32_t index : node.outputs) any = any || index != kAbsent;
  if (!any) return fail("no output is used");
  for (size_t i = 0; i < node.attrs.size(); ++i) {
    const auto& [name, value] = node.attrs[i];
    const AttrSpec* spec = op.find_attr(name);
    if (spec == nullptr) return fail("unknown attribute '" + name + "'");
    if (spec->default_value.type != value.type)
      return fail(format_string("attribute '%s' has type %s, expected %s", name.c_str(),
                                attr_type_name(value.type), attr_type_name(spec->default_value.type)));
    if (value.type == AttrType::kString && !spec->choices.empty() && !is_choice(spec->choices, value.s))
      return fail(format_string("attribute '%s' is '%s', expected one of %s", name.c_str(), value.s.c_str(),
                                spec->choices.c_str()));
    for (size_t k = 0; k < i; ++k)
      if (node.attrs[k].first == name) return fail("attribute '" + name + "' appears twice");
  }
  for (const AttrSpec& spec : op.attrs) {
    if (!spec.required) continue;
    bool present = false;
    for (const auto& attr : node.attrs) present = present || attr.first == spec.name;
    if (!present) return fail("required attribute '" + spec.name + "' is missing");
  }
  return ok_status();
}

}  // namespace edgec
