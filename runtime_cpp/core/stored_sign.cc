#include <numeric>

#include "core/planner.h"

namespace edgec {
namespace {

// Tensors that one sign-agnostic operator touches are stored alike: union-find over tensor indices.
class Groups {
 public:
  explicit Groups(size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), 0); }
  int find(int t) {
    while (parent_[static_cast<size_t>(t)] != t) {
      int& up = parent_[static_cast<size_t>(t)];
      up = parent_[static_cast<size_t>(up)];
      t = up;
    }
    return t;
  }
  void join(int a, int b) { parent_[static_cast<size_t>(find(a))] = find(b); }

 private:
  std::vector<int> parent_;
};

}  // namespace

void choose_stored_signs(const Graph& graph, const std::vector<int>& live_nodes, Plan* plan) {
  std::vector<PlannedTensor>& tensors = plan->tensors;
  const auto is_i8 = [&](int t) {
    return t != kAbsent && tensors[static_cast<size_t>(t)].type.dtype == DType::kI8;
  };
  Groups groups(tensors.size());
  std::vector<char> stays(tensors.size(), 0);
  for (size_t t = 0; t < tensors.size(); ++t)
    stays[t] = tensors[t].home != Home::kArena || tensors[t].eager || tensors[t].read_eagerly;
  for (int n : live_nodes) {
    const NodeInfo& node = graph.nodes[static_cast<size_t>(n)];
    if (node.op->flags & kRequantizes) continue;
    int first = -1;
    const auto visit = [&](int t) {
      if (!is_i8(t)) return;
      if (!(node.op->flags & kSignAgnostic)) stays[static_cast<size_t>(t)] = 1;
      if (first < 0) first = t;
      groups.join(t, first);
    };
    for (int t : node.inputs) visit(t);
    for (int t : node.outputs) visit(t);
  }
  for (size_t t = 0; t < tensors.size(); ++t)
    if (stays[t]) stays[static_cast<size_t>(groups.find(static_cast<int>(t)))] = 1;
  for (size_t t = 0; t < tensors.size(); ++t) {
    if (!is_i8(static_cast<int>(t)) || stays[static_cast<size_t>(groups.find(static_cast<int>(t)))]) continue;
    tensors[t].type.dtype = DType::kU8;
    tensors[t].type.excess128 = true;
  }
}

}  // namespace edgec
