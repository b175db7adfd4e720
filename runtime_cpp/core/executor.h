// Runs one graph: plans for the shapes it met, then the steps of a plan, then what is eager.
// A Session owns one for the main graph; control-flow nodes own one per sub-graph.
#pragma once
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "core/planner.h"

namespace edgec {

// What all executors of a session share.
struct ExecutionState {
  std::shared_ptr<const Model> model;
  SessionOptions options;
  std::unique_ptr<ThreadPool> pool;
  SharedPacked packed;
  std::atomic<bool> cancelled{false};
};

class Executor {
 public:
  Executor(ExecutionState* state, const Graph& graph) : state_(*state), graph_(graph) {}

  Status prepare(const std::vector<Shape>& input_shapes);
  Plan& plan() { return *plan_; }
  const Plan& plan() const { return *plan_; }
  const Graph& graph() const { return graph_; }

  void bind_input(int i, void* data) { bind(&inputs_[static_cast<size_t>(i)], data); }
  void bind_output(int i, void* data) { bind(&outputs_[static_cast<size_t>(i)], data); }
  void* own_input(int i);
  void* own_output(int i);
  bool output_is_dynamic(int i) const;
  const TensorType& output_type(int i) const;

  // seconds, if given, has one entry per step, eager nodes behind the planned ones; times are added.
  Status run(std::vector<double>* seconds = nullptr);
  // Any tensor after run(); false when it is not kept.
  bool tensor(int t, TensorView* out) const;

 private:
  struct Port {
    void* data = nullptr;  // bound by the caller, or own
    AlignedBlock own;
    std::vector<std::pair<TensorView*, size_t>> views;  // every view inside this port, with its offset
  };
  static void bind(Port* port, void* data);
  void* own_memory(Port* port, size_t bytes);
  void use_plan(Plan* plan);
  Status ready();
  Status run_steps(std::vector<double>* seconds);
  Status run_eager(std::vector<double>* seconds);
  Status run_eager_node(int n);
  Status run_control(const NodeInfo& node);
  TensorView value_of(int t) const;
  Executor& child(int64_t graph);
  friend class ControlRun;

  ExecutionState& state_;
  const Graph& graph_;
  std::vector<std::unique_ptr<Plan>> plans_;  // most recent first
  Plan* plan_ = nullptr;
  std::vector<Port> inputs_, outputs_;
  std::vector<HostTensor> eager_;  // by tensor index; only those that eager nodes wrote
  std::vector<std::pair<int64_t, std::unique_ptr<Executor>>> children_;
};

struct EvaluateOptions {
  Isa isa = best_isa();
  ThreadPool* pool = nullptr;      // null: the calling thread alone
  SharedPacked* packed = nullptr;  // null: weights are packed for this call only
  size_t max_bytes = 0;            // of one output, and of packed weights; 0 = no limit
};
// evaluate_node without validation (the file was validated) and with the session's resources.
Status evaluate(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
                const std::vector<const void*>& values, const EvaluateOptions& options,
                std::vector<HostTensor>* outputs);
Status infer(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
             const std::vector<const void*>& values, std::vector<TensorType>* outputs);

}  // namespace edgec
