// How an operator is defined: one file runtime_cpp/ops/<name>.cc holds the schema, the type and shape
// rule, `prepare` (choose a kernel, pack) and the step that runs. Bindings, file validation and the
// Python IR all read the same OpDef; there is no second schema anywhere.
//
// A new file in ops/ registers itself: CMake turns each stem `foo` into a call of
// `void register_foo(Registry&)`, which the file defines with EDGEC_REGISTER(foo) { ... }.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/attributes.h"
#include "core/cpu.h"
#include "core/status.h"
#include "core/tensor.h"
#include "core/thread_pool.h"

namespace edgec {

class InferContext;
class PrepareContext;
class ControlContext;

struct AttrSpec {
  std::string name;
  AttrValue default_value;  // its type is the attribute's type
  bool required = false;
  std::string choices;  // for strings: "none|relu|clip"; empty = any
  std::string doc;
};

struct PortSpec {
  std::string name;
  bool optional = false;
  bool variadic = false;  // only the last one
  std::string doc;
};

// What planner, folder and passes may assume of an operator.
enum OpFlag : uint32_t {
  kPitchedInputs = 1u << 0,   // reads activations whose rows are `pitch` apart (constants are dense)
  kPitchedOutputs = 1u << 1,  // writes such
  kShapeOnly = 1u << 2,       // the value follows from input *types* alone (Shape, Size)
  kViewOfInput0 = 1u << 3,    // output 0 has the bytes of input 0 in the same order (Reshape, Squeeze...)
  kNotFoldable = 1u << 4,     // random or stateful: never evaluated ahead of time, never merged
  kElementwise = 1u << 5,     // commutes with any permutation of the dimensions (after broadcasting)
  kControlFlow = 1u << 6,     // has sub-graphs: runs through OpDef::run_control (If, Loop, Scan)
  // What an operator does when i8 activations are stored as u8 = i8 + 128 (TensorType::excess128):
  kSignAgnostic = 1u << 7,  // moves or compares bytes: right for either form if all its i8 tensors share it
  kRequantizes = 1u << 8,   // reads the form of each input and output and moves its zero points by 128
};

class NodeContext;

// "Input (or output) `part` is whole[..., offset : offset + n, ...] along `axis`": what lets the planner
// turn Concat, Split and Slice into views. whole_is_output: the parts are inputs (Concat), else outputs.
struct ViewPart {
  int part;
  int axis;
  int64_t offset;
};

struct OpDef {
  std::string name;
  int version = 1;
  std::string doc;
  std::vector<PortSpec> inputs, outputs;
  std::vector<AttrSpec> attrs;
  uint32_t flags = 0;
  // Output 0 may overwrite any of these inputs when type and pitch agree and the input dies here.
  std::vector<int> inplace_inputs;
  Status (*infer)(InferContext&) = nullptr;
  Status (*prepare)(PrepareContext&) = nullptr;
  // Optional; called after inference. Leaves `parts` empty when nothing can be a view. A part that the
  // planner did place is aliased: prepare sees it through part_placed(i) and its step must not copy it.
  void (*view_parts)(const NodeContext&, std::vector<ViewPart>* parts) = nullptr;
  // Control flow only (kControlFlow): runs the sub-graphs on known inputs.
  Status (*run_control)(ControlContext&) = nullptr;
  bool whole_is_output = false;  // Concat: true; Split, Slice: false (the whole is input 0)

  int min_inputs() const;
  int max_inputs() const;  // INT_MAX when variadic
  const AttrSpec* find_attr(const std::string& name) const;
};

// Fluent construction, so that a definition reads as a table.
class OpBuilder {
 public:
  explicit OpBuilder(OpDef& def) : def_(def) {}
  OpBuilder& version(int v) {
    def_.version = v;
    return *this;
  }
  OpBuilder& doc(const char* text) {
    def_.doc = text;
    return *this;
  }
  OpBuilder& input(const char* name, const char* doc = "") {
    return port(def_.inputs, name, doc, false, false);
  }
  OpBuilder& optional(const char* name, const char* doc = "") {
    return port(def_.inputs, name, doc, true, false);
  }
  OpBuilder& variadic(const char* name, const char* doc = "") {
    return port(def_.inputs, name, doc, false, true);
  }
  OpBuilder& output(const char* name, const char* doc = "") {
    return port(def_.outputs, name, doc, false, false);
  }
  OpBuilder& optional_output(const char* name, const char* doc = "") {
    return port(def_.outputs, name, doc, true, false);
  }
  OpBuilder& variadic_output(const char* name, const char* doc = "") {
    return port(def_.outputs, name, doc, false, true);
  }
  OpBuilder& attr(const char* name, AttrValue default_value, const char* doc = "", const char* choices = "");
  OpBuilder& required(const char* name, AttrType type, const char* doc = "", const char* choices = "");
  OpBuilder& flags(uint32_t flags) {
    def_.flags |= flags;
    return *this;
  }
  OpBuilder& inplace(int input) {
    def_.inplace_inputs.push_back(input);
    return *this;
  }
  OpBuilder& infer(Status (*f)(InferContext&)) {
    def_.infer = f;
    return *this;
  }
  OpBuilder& prepare(Status (*f)(PrepareContext&)) {
    def_.prepare = f;
    return *this;
  }
  OpBuilder& run_control(Status (*f)(ControlContext&)) {
    def_.run_control = f;
    return *this;
  }
  OpBuilder& views(bool whole_is_output, void (*f)(const NodeContext&, std::vector<ViewPart>*)) {
    def_.view_parts = f;
    def_.whole_is_output = whole_is_output;
    return *this;
  }

 private:
  OpBuilder& port(std::vector<PortSpec>& ports, const char* name, const char* doc, bool optional,
                  bool variadic);
  OpDef& def_;
};

class Registry {
 public:
  static const Registry& instance();  // every operator of this build, made on first use
  OpBuilder add(const char* name);
  const OpDef* find(const std::string& name) const;
  const std::vector<std::unique_ptr<OpDef>>& all() const { return ops_; }

 private:
  std::vector<std::unique_ptr<OpDef>> ops_;  // sorted by name once instance() has filled it
  friend struct RegistryFiller;
};

#define EDGEC_REGISTER(stem) void register_##stem(::edgec::Registry& registry)

// A node as operators see it. Attributes are already validated against the schema: present attributes
// have the declared type, and reading an absent one yields the default.
struct NodeView {
  const OpDef* op = nullptr;
  const AttrList* attrs = nullptr;
  const char* name = "";
};

class NodeContext {
 public:
  const OpDef& op() const { return *node_.op; }
  const char* node_name() const { return node_.name; }
  int64_t attr_int(const char* name) const { return attr(name).i; }
  bool attr_bool(const char* name) const { return attr(name).i != 0; }
  float attr_float(const char* name) const { return static_cast<float>(attr(name).f); }
  const std::string& attr_string(const char* name) const { return attr(name).s; }
  const std::vector<int64_t>& attr_ints(const char* name) const { return attr(name).ints; }
  const std::vector<double>& attr_floats(const char* name) const { return attr(name).floats; }
  const AttrValue& attr(const char* name) const;

  int input_count() const { return input_count_; }
  int output_count() const { return output_count_; }
  bool has_input(int i) const { return i < input_count_ && input_types_[i] != nullptr; }
  bool has_output(int i) const { return i < output_count_ && output_types_[i] != nullptr; }
  const TensorType& input(int i) const { return *input_types_[i]; }    // only if has_input(i)
  const TensorType& output(int i) const { return *output_types_[i]; }  // after inference, if has_output(i)
  // Dense data of an input that is known before run(), else null.
  const void* value(int i) const { return i < input_count_ ? input_values_[i] : nullptr; }
  template <class T>
  const T* value_as(int i) const {
    return static_cast<const T*>(value(i));
  }
  // A known i32 or i64 input as int64. When the value depends on input data, the failure is
  // StatusCode::kNeedsValue: the session then runs this operator and what follows from it eagerly,
  // one by one, once the value is there. Operators whose output shape depends on data return the same.
  Status value_ints(int i, std::vector<int64_t>* out) const;
  // For lists that come as an attribute or, where the model computes them, as optional input i.
  Status ints_of(const char* attr_name, int i, std::vector<int64_t>* out) const {
    if (has_input(i)) return value_ints(i, out);
    *out = attr_ints(attr_name);
    return ok_status();
  }

  // "Conv2d 'layer3.0': " + message. Prefer over error(): it names the operator and the node.
  [[gnu::format(printf, 3, 4)]] Status fail(StatusCode code, const char* format, ...) const;

 protected:
  NodeView node_;
  int input_count_ = 0, output_count_ = 0;
  const TensorType* const* input_types_ = nullptr;
  const void* const* input_values_ = nullptr;
  TensorType* const* output_types_ = nullptr;
};

// Inference sets every output's dtype and shape from input types, attributes and known values.
class InferContext : public NodeContext {
 public:
  InferContext(NodeView node, int inputs, const TensorType* const* types, const void* const* values,
               int outputs, TensorType* const* output_types) {
    node_ = node;
    input_count_ = inputs;
    output_count_ = outputs;
    input_types_ = types;
    input_values_ = values;
    output_types_ = output_types;
  }
  // Checks rank and size. Quantization of outputs comes from the file, not from inference.
  Status set_output(int i, DType dtype, const Shape& shape);

  // For common preconditions; each names operator, input, got and expected.
  Status want_dtype(int input, std::initializer_list<DType> any_of) const;
  Status want_rank(int input, int rank) const;
  // axis in [-rank, rank) to [0, rank).
  Status normalize_axis(int64_t axis, int rank, int* out) const;
  // NumPy broadcasting of two shapes.
  Status broadcast(const Shape& a, const Shape& b, Shape* out) const;
};

struct StepArgs {
  // One entry per port of the schema at least, more for variadic ports; null where an optional one is absent.
  TensorView* const* inputs;
  TensorView* const* outputs;
  std::byte* scratch;  // what request_scratch asked for, 64-byte aligned
  ThreadPool& pool;
};

// One prepared operator. run() allocates nothing and decides nothing that prepare could have decided.
class Step {
 public:
  virtual ~Step() = default;
  virtual Status run(const StepArgs& args) = 0;
  virtual const char* kernel_name() const { return ""; }  // for profile and inspect
};

// Persistent memory of a prepared plan (packed weights, tables), 64-byte aligned, counted.
class PackedMemory {
 public:
  virtual ~PackedMemory() = default;
  // Null when the limit (max_memory) or the system refuses.
  virtual void* allocate(size_t bytes) = 0;
  // The same block for the same (source, layout), so that plans for several shapes share packed weights;
  // *fresh says that the caller must fill it.
  virtual void* allocate_shared(const void* source, const std::string& layout, size_t bytes, bool* fresh) = 0;
};

class PrepareContext : public NodeContext {
 public:
  // The dense, mapped or folded data of input i; null when it is an activation.
  const void* constant(int i) const { return value(i); }
  int64_t input_pitch(int i) const { return input_pitches_[i]; }
  int64_t output_pitch(int i) const { return output_pitches_[i]; }
  // Output 0 lies at the same address as this input (view or in place).
  bool aliased(int input) const { return aliased_input_ == input; }
  // The part (input of Concat, output of Split or Slice) already lies inside the whole.
  bool part_placed(int part) const { return (placed_parts_ >> part) & 1; }
  Isa isa() const { return isa_; }
  int threads() const { return threads_; }
  // Memory that belongs to this plan (tables that depend on the shapes). Null = out of memory.
  void* allocate_packed(size_t bytes) { return packed_->allocate(bytes); }
  // Memory for a packed form of constant input i that every plan of the session shares. `layout` names
  // the packing completely (kernel, tile, transposition...): same layout = same bytes.
  void* allocate_packed_weights(int i, const std::string& layout, size_t bytes, bool* fresh) {
    return packed_->allocate_shared(constant(i), layout, bytes, fresh);
  }
  // The step never reads input i at run time (it was packed): its mapped pages may go.
  void release_constant(int i) { released_inputs_ |= uint64_t{1} << (i & 63); }
  Status out_of_memory(size_t bytes) const;
  // Scratch of this step while it runs; part of the arena. The last call wins.
  void request_scratch(size_t bytes) { scratch_bytes_ = bytes; }
  void set_step(std::unique_ptr<Step> step) { step_ = std::move(step); }

 private:
  friend class Planner;
  const int64_t* input_pitches_ = nullptr;
  const int64_t* output_pitches_ = nullptr;
  int aliased_input_ = -1;
  uint64_t placed_parts_ = 0;
  uint64_t released_inputs_ = 0;
  Isa isa_ = Isa::scalar;
  int threads_ = 1;
  PackedMemory* packed_ = nullptr;
  size_t scratch_bytes_ = 0;
  std::unique_ptr<Step> step_;
};

// A Step from a callable: ctx.set_step(make_step("copy", [=](const StepArgs& a) { ...; return ok_status();
// })).
template <class F>
std::unique_ptr<Step> make_step(const char* kernel, F body) {
  struct Lambda final : Step {
    Lambda(const char* k, F f) : kernel(k), body(std::move(f)) {}
    Status run(const StepArgs& args) override { return body(args); }
    const char* kernel_name() const override { return kernel; }
    const char* kernel;
    F body;
  };
  return std::make_unique<Lambda>(kernel, std::move(body));
}

}  // namespace edgec
