#include "core/planner.h"

#include <algorithm>
#include <cstring>

#include "core/executor.h"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace edgec {
namespace {

size_t physical_memory() {
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) return static_cast<size_t>(pages) * static_cast<size_t>(page);
#endif
  return 0;
}

class Builder {
 public:
  Builder(const Model& model, const Graph& graph, const SessionOptions& options, SharedPacked* shared)
      : model_(model), graph_(graph), options_(options), shared_(shared) {
    limit_ = options.max_memory ? options.max_memory : physical_memory();
  }

  Status build(const std::vector<Shape>& input_shapes, std::unique_ptr<Plan>* out) {
    plan_ = std::make_unique<Plan>();
    plan_->input_shapes = input_shapes;
    plan_->packed = std::make_unique<PlanPacked>(shared_, limit_);
    plan_->tensors.resize(graph_.tensors.size());
    EDGEC_TRY(set_inputs(input_shapes));
    EDGEC_TRY(infer_and_fold());
    find_live_nodes();
    assign_outputs();
    for (PlannedTensor& t : plan_->tensors) t.pitch = dense_view(t.type, nullptr).pitch;
    if (isa_stores_excess128(options_.isa) && !options_.keep_all)
      choose_stored_signs(graph_, live_, plan_.get());
    share_memory(graph_, live_, options_.keep_all, plan_.get());
    EDGEC_TRY(prepare_steps());
    EDGEC_TRY(lay_out());
    *out = std::move(plan_);
    return ok_status();
  }

 private:
  PlannedTensor& tensor(int t) { return plan_->tensors[static_cast<size_t>(t)]; }
  const NodeInfo& node(int n) const { return graph_.nodes[static_cast<size_t>(n)]; }

  Status set_inputs(const std::vector<Shape>& shapes) {
    if (shapes.size() != graph_.inputs.size())
      return error(StatusCode::kInvalidArgument, "got %zu input shapes, the model has %zu inputs",
                   shapes.size(), graph_.inputs.size());
    std::vector<int64_t> bound(model_.symbols.size(), -1);
    for (size_t i = 0; i < shapes.size(); ++i) {
      const TensorInfo& info = graph_.tensors[static_cast<size_t>(graph_.inputs[i])];
      const auto fail = [&](const std::string& why) {
        return error(StatusCode::kShape, "input '%s': shape %s %s", info.name.c_str(),
                     shapes[i].to_string().c_str(), why.c_str());
      };
      if (!info.any_shape && shapes[i].rank() != info.shape.rank())
        return fail(format_string("has %d dimensions, expected %d", shapes[i].rank(), info.shape.rank()));
      for (int d = 0; d < shapes[i].rank() && !info.any_shape; ++d) {
        const int64_t got = shapes[i][d], declared = info.shape[d];
        if (declared >= 0) {
          if (got != declared)
            return fail(format_string("has %lld in dimension %d, expected %lld", static_cast<long long>(got),
                                      d, static_cast<long long>(declared)));
          continue;
        }
        const auto index = static_cast<size_t>(-declared - 1);
        const Symbol& symbol = model_.symbols[index];
        if (got < symbol.min || (symbol.max != 0 && got > symbol.max))
          return fail(format_string("has %lld for '%s', permitted are %lld to %s",
                                    static_cast<long long>(got), symbol.name.c_str(),
                                    static_cast<long long>(symbol.min),
                                    symbol.max ? std::to_string(symbol.max).c_str() : "any size"));
        if (bound[index] >= 0 && bound[index] != got)
          return fail(format_string("has %lld for '%s', another input has %lld", static_cast<long long>(got),
                                    symbol.name.c_str(), static_cast<long long>(bound[index])));
        bound[index] = got;
      }
      EDGEC_TRY(check_shape(info.dtype, shapes[i]));
      PlannedTensor& t = tensor(graph_.inputs[i]);
      t.type.dtype = info.dtype;
      t.type.shape = shapes[i];
      t.home = Home::kInput;
      t.index = static_cast<int>(i);
    }
    plan_->input_tensors.assign(graph_.inputs.begin(), graph_.inputs.end());
    return ok_status();
  }

  Status infer_and_fold() {
    for (size_t i = 0; i < graph_.tensors.size(); ++i) {
      const TensorInfo& info = graph_.tensors[i];
      PlannedTensor& t = plan_->tensors[i];
      if (info.quantized) t.type.quantization = &info.quantization;
      if (info.kind != TensorKind::kConstant) continue;
      t.type.dtype = info.dtype;
      t.type.shape = info.shape;
      t.value = info.data;
      t.home = Home::kConstant;
    }
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const NodeInfo& info = graph_.nodes[n];
      std::vector<const TensorType*> types;
      std::vector<const void*> values;
      bool known = true, eager = (info.op->flags & kControlFlow) != 0;
      for (int t : info.inputs) {
        if (t != kAbsent && tensor(t).eager) eager = true;
        types.push_back(t == kAbsent ? nullptr : &tensor(t).type);
        values.push_back(t == kAbsent ? nullptr : tensor(t).value);
        if (t != kAbsent && tensor(t).value == nullptr) known = false;
      }
      if (eager) {
        defer(static_cast<int>(n));
        continue;
      }
      if (info.op->flags & kShapeOnly) known = true;
      if (info.op->flags & kNotFoldable) known = false;
      if (known) {
        std::vector<HostTensor> results;
        EvaluateOptions evaluate_options;
        evaluate_options.isa = options_.isa;
        evaluate_options.max_bytes = limit_;
        EDGEC_TRY(evaluate(info, types, values, evaluate_options, &results));
        for (size_t i = 0; i < results.size(); ++i) {
          if (info.outputs[i] == kAbsent) continue;
          PlannedTensor& t = tensor(info.outputs[i]);
          EDGEC_TRY(keep_folded(results[i], &t));
        }
        continue;
      }
      std::vector<TensorType> outputs;
      Status status = infer(info, types, values, &outputs);
      if (status.code() == StatusCode::kNeedsValue) {
        defer(static_cast<int>(n));
        continue;
      }
      EDGEC_TRY(std::move(status));
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (info.outputs[i] == kAbsent) continue;
        PlannedTensor& t = tensor(info.outputs[i]);
        t.type.dtype = outputs[i].dtype;
        t.type.shape = outputs[i].shape;
        t.producer = static_cast<int>(n);
        // Before any prepare: tables may grow with an output that nobody has memory for.
        if (limit_ != 0 && t.type.bytes() > limit_)
          return error(StatusCode::kOutOfMemory, "%s '%s': output %zu is %s, %zu bytes, the limit is %zu",
                       info.op->name.c_str(), info.name.c_str(), i, t.type.to_string().c_str(),
                       t.type.bytes(), limit_);
      }
    }
    return ok_status();
  }

  void defer(int n) {
    for (int t : node(n).outputs) {
      if (t == kAbsent) continue;
      tensor(t).eager = true;
      tensor(t).producer = n;
    }
  }

  Status keep_folded(const HostTensor& result, PlannedTensor* t) {
    AlignedBlock block;
    plan_->stats.folded_bytes += align_up(result.data.size());
    if ((limit_ != 0 && plan_->stats.folded_bytes > limit_) || !block.allocate(result.data.size()))
      return error(StatusCode::kOutOfMemory, "values known at prepare need more than %zu bytes",
                   plan_->stats.folded_bytes);
    if (!result.data.empty()) std::memcpy(block.data(), result.data.data(), result.data.size());
    t->type.dtype = result.type.dtype;
    t->type.shape = result.type.shape;
    t->value = block.data();
    t->home = Home::kConstant;
    plan_->folded.push_back(std::move(block));
    return ok_status();
  }

  void find_live_nodes() {
    std::vector<char> needed(graph_.tensors.size(), options_.keep_all ? 1 : 0);
    for (int t : graph_.outputs) needed[static_cast<size_t>(t)] = 1;
    for (int n = static_cast<int>(graph_.nodes.size()) - 1; n >= 0; --n) {
      bool live = false, eager = false;
      for (int t : node(n).outputs) {
        live = live || (t != kAbsent && needed[static_cast<size_t>(t)] && tensor(t).value == nullptr);
        eager = eager || (t != kAbsent && tensor(t).eager);
      }
      if (!live) continue;
      (eager ? plan_->eager_nodes : live_).push_back(n);
      for (int t : node(n).inputs)
        if (t != kAbsent) needed[static_cast<size_t>(t)] = 1;
    }
    std::reverse(live_.begin(), live_.end());
    std::reverse(plan_->eager_nodes.begin(), plan_->eager_nodes.end());
    for (int n : plan_->eager_nodes) {
      for (int t : node(n).inputs) {
        if (t == kAbsent || tensor(t).eager) continue;
        tensor(t).read_eagerly = true;
        tensor(t).last_use = INT32_MAX;
        kept_.push_back(t);
      }
    }
    for (int n : live_) {
      for (int t : node(n).outputs)
        if (t != kAbsent) tensor(t).home = Home::kArena;
      for (int t : node(n).inputs) {
        if (t == kAbsent) continue;
        tensor(t).last_use = std::max(tensor(t).last_use, n);
        if (tensor(t).consumers.empty() || tensor(t).consumers.back() != n) tensor(t).consumers.push_back(n);
      }
    }
  }

  // Every graph output gets memory of its own: the tensor itself where a step writes it, a copy where it is
  // an input, a known value or already another output.
  void assign_outputs() {
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      const int source = graph_.outputs[i];
      int target = source;
      if (tensor(source).eager) {
        plan_->output_tensors.push_back(source);
        continue;
      }
      if (tensor(source).home != Home::kArena) {
        PlannedTensor copy;
        copy.type = tensor(source).type;
        target = static_cast<int>(plan_->tensors.size());
        plan_->tensors.push_back(copy);
        copies_.push_back({source, target});
      }
      tensor(target).home = Home::kOutput;
      tensor(target).index = static_cast<int>(i);
      tensor(source).last_use = INT32_MAX;
      tensor(target).last_use = INT32_MAX;
      plan_->output_tensors.push_back(target);
    }
  }

  Status prepare_steps() {
    plan_->views.resize(plan_->tensors.size());
    for (size_t t = 0; t < plan_->tensors.size(); ++t) {
      plan_->views[t].type = plan_->tensors[t].type;
      plan_->views[t].pitch = plan_->tensors[t].pitch;
    }
    for (int n : live_) {
      PlannedStep step;
      step.node = n;
      EDGEC_TRY(prepare_step(n, &step));
      plan_->steps.push_back(std::move(step));
    }
    for (const auto& [source, target] : copies_) {
      PlannedStep step;
      step.inputs.push_back(&plan_->views[static_cast<size_t>(source)]);
      step.outputs.push_back(&plan_->views[static_cast<size_t>(target)]);
      step.step = make_step("copy_output", [](const StepArgs& args) {
        const TensorView& in = *args.inputs[0];
        const size_t size = dtype_size(in.dtype());
        const auto row = static_cast<size_t>(in.row_length()) * size;
        for (int64_t r = 0; r < in.rows() && row != 0; ++r)
          std::memcpy(args.outputs[0]->as<std::byte>() + static_cast<size_t>(r) * row,
                      in.as<const std::byte>() + static_cast<size_t>(r * in.pitch) * size, row);
        return ok_status();
      });
      plan_->steps.push_back(std::move(step));
    }
    drop_packed_constants();
    return ok_status();
  }

  Status prepare_step(int n, PlannedStep* step) {
    const NodeInfo& info = node(n);
    Planner::Request request;
    request.node = {info.op, &info.attrs, info.name.c_str()};
    request.isa = options_.isa;
    request.threads = options_.threads;
    request.packed = plan_->packed.get();
    for (int t : info.inputs) {
      const bool present = t != kAbsent;
      request.input_types.push_back(present ? &tensor(t).type : nullptr);
      request.input_values.push_back(present ? tensor(t).value : nullptr);
      request.input_pitches.push_back(present ? tensor(t).pitch : 0);
      step->inputs.push_back(present ? &plan_->views[static_cast<size_t>(t)] : nullptr);
    }
    for (int t : info.outputs) {
      const bool present = t != kAbsent;
      request.output_types.push_back(present ? &tensor(t).type : nullptr);
      request.output_pitches.push_back(present ? tensor(t).pitch : 0);
      step->outputs.push_back(present ? &plan_->views[static_cast<size_t>(t)] : nullptr);
    }
    step->inputs.resize(std::max(step->inputs.size(), info.op->inputs.size()));
    step->outputs.resize(std::max(step->outputs.size(), info.op->outputs.size()));
    if (info.outputs[0] != kAbsent) {
      int out_root = 0, in_root = 0;
      const size_t out_offset = plan_->offset_in_root(info.outputs[0], &out_root);
      for (size_t i = 0; i < info.inputs.size(); ++i) {
        if (info.inputs[i] == kAbsent) continue;
        const size_t in_offset = plan_->offset_in_root(info.inputs[i], &in_root);
        if (in_root == out_root && in_offset == out_offset && request.aliased_input < 0)
          request.aliased_input = static_cast<int>(i);
      }
    }
    step->is_view = (info.op->flags & kViewOfInput0) && request.aliased_input == 0;
    if (info.op->view_parts != nullptr) {
      request.placed_parts = placed_parts(info);
      const size_t parts = info.op->whole_is_output ? info.inputs.size() : info.outputs.size();
      step->is_view =
          parts <= 64 && request.placed_parts == (parts == 64 ? ~uint64_t{0} : (uint64_t{1} << parts) - 1);
      if (info.op->whole_is_output) request.aliased_input = -1;
    }
    PreparedNode prepared;
    EDGEC_TRY(Planner::prepare(request, &prepared));
    step->step = std::move(prepared.step);
    step->scratch_bytes = step->is_view ? 0 : prepared.scratch_bytes;
    for (size_t i = 0; i < info.inputs.size() && i < 64; ++i)
      if (info.inputs[i] != kAbsent && !((prepared.released_inputs >> i) & 1))
        kept_.push_back(info.inputs[i]);
    return ok_status();
  }

  // Bit i: part i lies in the whole already. Omitted outputs of Split count as placed.
  uint64_t placed_parts(const NodeInfo& info) {
    const bool concat = info.op->whole_is_output;
    const std::vector<int32_t>& parts = concat ? info.inputs : info.outputs;
    const int whole = concat ? info.outputs[0] : info.inputs[0];
    uint64_t mask = 0;
    for (size_t i = 0; i < parts.size() && i < 64; ++i)
      if (parts[i] == kAbsent || tensor(parts[i]).parent == whole) mask |= uint64_t{1} << i;
    return mask;
  }

  void drop_packed_constants() {
    std::vector<char> kept(plan_->tensors.size(), 0);
    for (int t : kept_) kept[static_cast<size_t>(t)] = 1;
    for (const auto& copy : copies_) kept[static_cast<size_t>(copy.first)] = 1;
    for (size_t t = 0; t < graph_.tensors.size(); ++t) {
      const TensorInfo& info = graph_.tensors[t];
      if (info.kind != TensorKind::kConstant) continue;
      if (kept[t])
        plan_->stats.mapped_weight_bytes += info.bytes;
      else
        model_.drop_pages(info.data, info.bytes);
    }
  }

  Status lay_out() {
    // Steps that do nothing still count as points in time.
    std::vector<int> step_of(graph_.nodes.size(), -1);
    for (size_t s = 0; s < live_.size(); ++s) step_of[static_cast<size_t>(live_[s])] = static_cast<int>(s);
    const int end = static_cast<int>(plan_->steps.size());
    std::vector<ArenaItem> items;
    std::vector<int> item_of(plan_->tensors.size(), -1);
    for (size_t t = 0; t < plan_->tensors.size(); ++t) {
      const PlannedTensor& p = plan_->tensors[t];
      int root = 0;
      plan_->offset_in_root(static_cast<int>(t), &root);
      if (tensor(root).home != Home::kArena || p.home == Home::kNone) continue;
      int& slot = item_of[static_cast<size_t>(root)];
      if (slot < 0) {
        slot = static_cast<int>(items.size());
        items.push_back({tensor(root).type.bytes(), INT32_MAX, 0});
      }
      ArenaItem& item = items[static_cast<size_t>(slot)];
      if (options_.keep_all) {
        item.first = 0;
        item.last = end;
        continue;
      }
      const int first = p.producer >= 0 ? step_of[static_cast<size_t>(p.producer)] : 0;
      const int last = p.last_use == INT32_MAX ? end
                       : p.last_use < 0        ? first
                                               : step_of[static_cast<size_t>(p.last_use)];
      item.first = std::min(item.first, first);
      item.last = std::max({item.last, first, last});
    }
    plan_->stats.activation_peak = arena_lower_bound(items);
    std::vector<int> scratch_item(plan_->steps.size(), -1);
    for (size_t s = 0; s < plan_->steps.size(); ++s) {
      if (plan_->steps[s].scratch_bytes == 0) continue;
      scratch_item[s] = static_cast<int>(items.size());
      items.push_back({plan_->steps[s].scratch_bytes, static_cast<int>(s), static_cast<int>(s)});
    }
    plan_->stats.arena_bytes = plan_arena(&items);
    plan_->stats.packed_bytes = plan_->packed->used();
    for (size_t s = 0; s < plan_->steps.size(); ++s)
      if (scratch_item[s] >= 0)
        plan_->steps[s].scratch_offset = items[static_cast<size_t>(scratch_item[s])].offset;
    for (size_t t = 0; t < plan_->tensors.size(); ++t)
      if (item_of[t] >= 0) plan_->tensors[t].offset = items[static_cast<size_t>(item_of[t])].offset;
    const size_t total = plan_->stats.arena_bytes + plan_->stats.packed_bytes + plan_->stats.folded_bytes;
    if (limit_ != 0 && total > limit_)
      return error(StatusCode::kOutOfMemory,
                   "the model needs %zu bytes (activations %zu, packed weights %zu, known values %zu), the "
                   "limit is %zu",
                   total, plan_->stats.arena_bytes, plan_->stats.packed_bytes, plan_->stats.folded_bytes,
                   limit_);
    return ok_status();
  }

  const Model& model_;
  const Graph& graph_;
  const SessionOptions& options_;
  SharedPacked* shared_;
  size_t limit_;
  std::unique_ptr<Plan> plan_;
  std::vector<int> live_;                    // planned node indices, in order
  std::vector<std::pair<int, int>> copies_;  // source tensor, graph output tensor
  std::vector<int> kept_;                    // constants that some step reads at run time
};

}  // namespace

size_t Plan::offset_in_root(int t, int* root) const {
  size_t offset = 0;
  while (tensors[static_cast<size_t>(t)].parent >= 0) {
    offset += tensors[static_cast<size_t>(t)].offset;
    t = tensors[static_cast<size_t>(t)].parent;
  }
  *root = t;
  return offset;
}

Status Plan::allocate() {
  if (!arena.allocate(stats.arena_bytes))
    return error(StatusCode::kOutOfMemory, "the arena of %zu bytes is not available", stats.arena_bytes);
  for (size_t t = 0; t < tensors.size(); ++t) {
    if (tensors[t].home == Home::kNone) continue;
    int root = 0;
    const size_t offset = offset_in_root(static_cast<int>(t), &root);
    const PlannedTensor& r = tensors[static_cast<size_t>(root)];
    // A root's own offset is its place in the arena.
    if (r.home == Home::kArena) views[t].data = arena.data() + r.offset + offset;
    if (r.home == Home::kConstant)
      views[t].data = static_cast<std::byte*>(const_cast<void*>(r.value)) + offset;
  }
  return ok_status();
}

Status make_plan(const Model& model, const Graph& graph, const SessionOptions& options,
                 const std::vector<Shape>& input_shapes, SharedPacked* packed, std::unique_ptr<Plan>* out) {
  return Builder(model, graph, options, packed).build(input_shapes, out);
}

}  // namespace edgec
