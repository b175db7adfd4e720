// prepare: from a graph and concrete input shapes to a flat list of steps over one arena.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/memory.h"
#include "core/session.h"

namespace edgec {

// Where the bytes of a tensor live.
enum class Home : uint8_t {
  kNone,      // never needed at run time
  kArena,     // activations
  kConstant,  // mapped weights and values folded at prepare
  kInput,     // the caller's (or the session's own) input memory
  kOutput,    // the caller's (or the session's own) output memory
};

// A tensor as planned. Tensors that share memory form a tree: a child lies `offset` bytes inside its
// parent; the root has the home.
struct PlannedTensor {
  TensorType type;
  int64_t pitch = 0;
  int parent = -1;
  size_t offset = 0;
  Home home = Home::kNone;      // of roots; resolve() follows the tree
  int index = 0;                // kInput, kOutput: which one
  const void* value = nullptr;  // known before the run
  int producer = -1;            // node index, -1 = none
  int last_use = -1;            // node index of the last reader; INT32_MAX for graph outputs
  std::vector<int> consumers;   // live node indices
  bool eager = false;           // written by an eager node: type and bytes are known only during the run
  bool read_eagerly = false;    // an eager node reads it: must be dense and live to the end of the steps
};

struct PlannedStep {
  int node = -1;  // index into Graph::nodes; -1: copies a value into a graph output
  std::unique_ptr<Step> step;
  std::vector<TensorView*> inputs, outputs;
  size_t scratch_bytes = 0, scratch_offset = 0;
  bool is_view = false;  // nothing to do at run time
};

// One plan for one set of shapes.
struct Plan {
  std::vector<Shape> input_shapes;
  std::vector<PlannedTensor> tensors;
  std::vector<TensorView> views;  // by tensor index
  std::vector<PlannedStep> steps;
  // Nodes whose shapes depend on data, and control flow: run one by one after the steps.
  std::vector<int> eager_nodes;
  std::vector<AlignedBlock> folded;
  std::unique_ptr<PlanPacked> packed;
  AlignedBlock arena;
  PlanStats stats;
  std::vector<int> input_tensors, output_tensors;  // by graph input, graph output

  // Byte offset of a tensor inside its root.
  size_t offset_in_root(int tensor, int* root) const;
  // Allocates the arena and points every view at it and at constants.
  Status allocate();
};

Status make_plan(const Model& model, const Graph& graph, const SessionOptions& options,
                 const std::vector<Shape>& input_shapes, SharedPacked* packed, std::unique_ptr<Plan>* out);

// Decides which tensors share memory: Concat, Split and Slice as views, Reshape and its like for free,
// element-wise operators in place (not with keep_all).
void share_memory(const Graph& graph, const std::vector<int>& live_nodes, bool keep_all, Plan* plan);

// Marks the i8 activations that live as u8 = i8 + 128 in this plan (TensorType::excess128): those that only
// operators flagged for it read and write. Model inputs and outputs, known values and what runs eagerly stay
// i8.
void choose_stored_signs(const Graph& graph, const std::vector<int>& live_nodes, Plan* plan);

struct PreparedNode {
  std::unique_ptr<Step> step;
  size_t scratch_bytes = 0;
  uint64_t released_inputs = 0;
};

// The one place that builds PrepareContexts.
class Planner {
 public:
  struct Request {
    NodeView node;
    std::vector<const TensorType*> input_types;
    std::vector<const void*> input_values;
    std::vector<TensorType*> output_types;
    std::vector<int64_t> input_pitches, output_pitches;
    int aliased_input = -1;
    uint64_t placed_parts = 0;
    Isa isa = Isa::scalar;
    int threads = 1;
    PackedMemory* packed = nullptr;
  };
  static Status prepare(const Request& request, PreparedNode* out);
};

}  // namespace edgec
