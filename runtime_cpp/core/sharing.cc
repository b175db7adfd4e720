// Which tensors share memory. Runs between inference and prepare; see planner.h.
#include <algorithm>

#include "core/planner.h"

namespace edgec {
namespace {

class Sharing {
 public:
  Sharing(const Graph& graph, const std::vector<int>& live, Plan* plan)
      : graph_(graph), live_(live), tensors_(plan->tensors), plan_(*plan) {}

  void place_concats() {
    // From the outside in: an inner concatenation learns its pitch before its own parts do.
    for (auto it = live_.rbegin(); it != live_.rend(); ++it) {
      const NodeInfo& node = graph_.nodes[static_cast<size_t>(*it)];
      if (node.op->view_parts == nullptr || !node.op->whole_is_output) continue;
      for (const ViewPart& part : parts_of(*it)) {
        const int t = node.inputs[static_cast<size_t>(part.part)];
        if (std::count(node.inputs.begin(), node.inputs.end(), t) != 1) continue;
        if (may_move(t)) place(t, node.outputs[0], part, *it);
      }
    }
  }

  void place_views() {
    for (auto it = live_.rbegin(); it != live_.rend(); ++it) {
      const NodeInfo& node = graph_.nodes[static_cast<size_t>(*it)];
      if (!(node.op->flags & kViewOfInput0)) continue;
      const int in = node.inputs[0], out = node.outputs[0];
      if (in == kAbsent || out == kAbsent || tensor(in).value != nullptr) continue;
      if (!dense(in) || !dense(out) || root_of(in) == root_of(out)) continue;
      if (free_child(out)) {
        adopt(in, out, 0);
      } else if (may_move(in)) {
        adopt(out, in, 0);
      }
    }
  }

  void place_slices() {
    for (int n : live_) {
      const NodeInfo& node = graph_.nodes[static_cast<size_t>(n)];
      if (node.op->view_parts == nullptr || node.op->whole_is_output || tensor(node.inputs[0]).value)
        continue;
      for (const ViewPart& part : parts_of(n)) {
        const int t = node.outputs[static_cast<size_t>(part.part)];
        if (t == kAbsent || !free_child(t)) continue;
        place(t, node.inputs[0], part, -1);
      }
    }
  }

  void place_in_place() {
    for (int n : live_) {
      const NodeInfo& node = graph_.nodes[static_cast<size_t>(n)];
      const int out = node.outputs[0];
      if (out == kAbsent) continue;
      for (int port : node.op->inplace_inputs) {
        if (port >= static_cast<int>(node.inputs.size())) continue;
        const int in = node.inputs[static_cast<size_t>(port)];
        if (in == kAbsent || !may_overwrite(n, in, out)) continue;
        const bool pitched_out_ok = (node.op->flags & kPitchedOutputs) && readers_accept_pitch(out, -1);
        if (free_child(out) && !has_children(out) && (dense(in) || pitched_out_ok)) {
          tensor(out).pitch = tensor(in).pitch;
          adopt(in, out, 0);
          break;
        }
        if (may_move(in) && (dense(out) || (!has_children(in) && accepts_pitch(in, -1)))) {
          tensor(in).pitch = tensor(out).pitch;
          adopt(out, in, 0);
          break;
        }
      }
    }
  }

 private:
  PlannedTensor& tensor(int t) { return tensors_[static_cast<size_t>(t)]; }

  bool dense(int t) {
    const TensorView view = dense_view(tensor(t).type, nullptr);
    return tensor(t).pitch == view.pitch;
  }
  int root_of(int t) {
    int root = t;
    plan_.offset_in_root(t, &root);
    return root;
  }
  bool has_children(int t) {
    return std::any_of(tensors_.begin(), tensors_.end(),
                       [t](const PlannedTensor& p) { return p.parent == t; });
  }
  // A tensor whose place is still open: an arena activation without parent.
  bool free_child(int t) { return tensor(t).home == Home::kArena && tensor(t).parent < 0; }
  // The same for one that a step of this plan writes: it can be written somewhere else.
  bool may_move(int t) { return t != kAbsent && free_child(t) && tensor(t).producer >= 0; }

  void adopt(int parent, int child, size_t offset) {
    tensor(child).parent = parent;
    tensor(child).offset = offset;
  }

  bool readers_accept_pitch(int t, int except_node) {
    if (tensor(t).read_eagerly) return false;
    for (int n : tensor(t).consumers)
      if (n != except_node && !(graph_.nodes[static_cast<size_t>(n)].op->flags & kPitchedInputs))
        return false;
    return true;
  }
  bool accepts_pitch(int t, int except_node) {
    const int producer = tensor(t).producer;
    return producer >= 0 && (graph_.nodes[static_cast<size_t>(producer)].op->flags & kPitchedOutputs) &&
           readers_accept_pitch(t, except_node);
  }

  std::vector<ViewPart> parts_of(int n) {
    const NodeInfo& node = graph_.nodes[static_cast<size_t>(n)];
    std::vector<const TensorType*> in;
    std::vector<const void*> values;
    std::vector<TensorType*> out;
    for (int t : node.inputs) {
      in.push_back(t == kAbsent ? nullptr : &tensor(t).type);
      values.push_back(t == kAbsent ? nullptr : tensor(t).value);
    }
    for (int t : node.outputs) out.push_back(t == kAbsent ? nullptr : &tensor(t).type);
    InferContext context({node.op, &node.attrs, node.name.c_str()}, static_cast<int>(in.size()), in.data(),
                         values.data(), static_cast<int>(out.size()), out.data());
    std::vector<ViewPart> parts;
    node.op->view_parts(context, &parts);
    return parts;
  }

  // Puts tensor t at its place inside `whole`; concat_node is the reader that does not count, or -1.
  void place(int t, int whole, const ViewPart& part, int concat_node) {
    if (part.part >= 64) return;  // PrepareContext::part_placed is a 64-bit mask
    const PlannedTensor& w = tensor(whole);
    const Shape& shape = w.type.shape;
    const int last = shape.rank() - 1;
    const auto size = static_cast<int64_t>(dtype_size(w.type.dtype));
    if (last < 0 || tensor(t).type.shape.elements() == 0) return;
    const TensorView natural = dense_view(tensor(t).type, nullptr);
    int64_t pitch = w.pitch, offset = 0;
    if (part.axis == last) {
      offset = part.offset;
      if (natural.rows() == 1) pitch = natural.pitch;
    } else {
      if (shape.product(0, part.axis) != 1) return;
      offset = part.offset * shape.product(part.axis + 1, last) * w.pitch;
    }
    if (pitch != natural.pitch) {
      if (has_children(t)) return;
      const bool ok = concat_node >= 0 ? accepts_pitch(t, concat_node) : readers_accept_pitch(t, -1);
      if (!ok) return;
    }
    tensor(t).pitch = pitch;
    adopt(whole, t, static_cast<size_t>(offset * size));
  }

  struct Extent {
    int root;
    size_t begin, end;  // bytes from the first element to behind the last
    size_t row, pitch_bytes;
  };
  Extent extent(int t) {
    Extent e;
    e.begin = plan_.offset_in_root(t, &e.root);
    const TensorView view = dense_view(tensor(t).type, nullptr);
    const size_t size = dtype_size(tensor(t).type.dtype);
    e.row = static_cast<size_t>(view.row_length()) * size;
    e.pitch_bytes = static_cast<size_t>(tensor(t).pitch) * size;
    const int64_t rows = view.rows();
    e.end = e.begin + (rows > 0 ? static_cast<size_t>(rows - 1) * e.pitch_bytes + e.row : 0);
    return e;
  }
  static bool overlap(const Extent& a, const Extent& b) {
    if (a.root != b.root || a.end <= b.begin || b.end <= a.begin) return false;
    if (a.pitch_bytes != b.pitch_bytes || a.pitch_bytes == 0) return true;
    // Two column ranges of one pitched matrix.
    const size_t ca = a.begin % a.pitch_bytes, cb = b.begin % b.pitch_bytes;
    return ca < cb + b.row && cb < ca + a.row;
  }

  // The bytes of `in` are free to become `out` at node n.
  bool may_overwrite(int n, int in, int out) {
    const PlannedTensor& a = tensor(in);
    const PlannedTensor& b = tensor(out);
    if (a.value != nullptr || a.type.shape != b.type.shape) return false;
    if (dtype_size(a.type.dtype) != dtype_size(b.type.dtype)) return false;
    const int root = root_of(in);
    if (root == root_of(out) || tensor(root).home == Home::kInput) return false;
    const Extent mine = extent(in);
    const NodeInfo& node = graph_.nodes[static_cast<size_t>(n)];
    for (size_t t = 0; t < tensors_.size(); ++t) {
      const int other = static_cast<int>(t);
      const PlannedTensor& o = tensors_[t];
      if (o.value != nullptr || o.home == Home::kNone) continue;
      if (root_of(other) != root || !overlap(mine, extent(other))) continue;
      if (o.last_use > n) return false;
      const bool read_here = std::count(node.inputs.begin(), node.inputs.end(), other) > 0;
      if (other != in && read_here && (extent(other).begin != mine.begin || o.type.shape != a.type.shape))
        return false;
      // A convolution whose residual is its own input still reads the input after it has written outputs.
      for (size_t port = 0; read_here && port < node.inputs.size(); ++port) {
        const std::vector<int>& allowed = node.op->inplace_inputs;
        if (node.inputs[port] == other && !std::count(allowed.begin(), allowed.end(), static_cast<int>(port)))
          return false;
      }
    }
    return true;
  }

  const Graph& graph_;
  const std::vector<int>& live_;
  std::vector<PlannedTensor>& tensors_;
  Plan& plan_;
};

}  // namespace

void share_memory(const Graph& graph, const std::vector<int>& live_nodes, bool keep_all, Plan* plan) {
  Sharing sharing(graph, live_nodes, plan);
  sharing.place_concats();
  sharing.place_views();
  sharing.place_slices();
  if (!keep_all) sharing.place_in_place();
}

}  // namespace edgec
