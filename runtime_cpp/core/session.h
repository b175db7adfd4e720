// load -> prepare -> run. A Session is one model prepared for one set of input shapes and one thread
// count; it belongs to one thread at a time.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/op.h"
#include "format/model.h"

namespace edgec {

struct SessionOptions {
  int threads = 1;        // 0 = all usable CPUs
  size_t max_memory = 0;  // arena + packed weights; 0 = no limit; refused at prepare, never at run
  Isa isa = best_isa();
  bool keep_all = false;  // every activation keeps its own memory, so that tensor() can read it after run
  // Shapes for inputs with symbolic dimensions, in graph input order; empty = the smallest that the symbols
  // permit
  std::vector<Shape> input_shapes;
};

struct PlanStats {
  size_t arena_bytes = 0;          // exact size of the one block that holds activations and scratch
  size_t activation_peak = 0;      // largest sum of live activations, without scratch and fragmentation
  size_t packed_bytes = 0;         // packed weights and tables
  size_t mapped_weight_bytes = 0;  // constants used where the file maps them
  size_t folded_bytes = 0;         // values evaluated at prepare
};

struct StepInfo {
  const NodeInfo* node;
  const char* kernel;
  std::vector<TensorType> inputs, outputs;
  bool is_view;   // costs nothing at run time
  bool is_eager;  // shapes depend on data: prepared anew in every run
};

class Session {
 public:
  static Status create(std::shared_ptr<const Model> model, const SessionOptions& options,
                       std::unique_ptr<Session>* out);
  ~Session();

  // Re-plans for other input shapes (graph input order). A no-op for the shapes it already has.
  Status prepare(const std::vector<Shape>& input_shapes);

  int input_count() const;
  int output_count() const;
  const std::string& input_name(int i) const;
  const std::string& output_name(int i) const;
  const TensorType& input_type(int i) const;  // for the prepared shapes
  // Shape depends on the input data: known after run(), cannot be bound, valid until the next run.
  bool output_is_dynamic(int i) const;
  const TensorType& output_type(int i) const;

  // Zero-copy: the session reads inputs from and writes outputs to the caller's dense, at least
  // element-aligned memory until the next bind or prepare. Unbound inputs and outputs live in the arena.
  Status bind_input(int i, const void* data, size_t bytes);
  Status bind_output(int i, void* data, size_t bytes);
  // Memory of an unbound input (to fill before run) or output (valid until the next run).
  void* input_data(int i);
  void* output_data(int i);

  Status run();
  void cancel();  // from any thread: the current run() returns kCancelled before its next step

  // Any tensor by name after run(); only outputs and constants unless keep_all.
  Status tensor(const std::string& name, TensorView* out) const;
  std::vector<std::string> tensor_names() const;

  const PlanStats& stats() const;
  std::vector<StepInfo> steps() const;
  // Runs once and adds each step's seconds to `seconds` (resized to steps()).
  Status profile(std::vector<double>* seconds);
  const Model& model() const;

 private:
  Session();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Type inference and evaluation of a single node: what constant folding and the Python IR use.
// values[i] may be null (unknown). Runs the very code that prepare and run use.
Status infer_node(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
                  const std::vector<const void*>& values, std::vector<TensorType>* outputs);
struct HostTensor {
  TensorType type;
  std::vector<std::byte> data;
};
Status evaluate_node(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
                     const std::vector<const void*>& values, std::vector<HostTensor>* outputs);

// Checks one node against its operator's schema: arity, attribute names, types, required ones, choices.
Status validate_node(const NodeInfo& node);

}  // namespace edgec
