// Runs one operator the way a session would: inference, prepare, step, with any pitch, thread count and ISA,
// and with each input either constant or computed.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/planner.h"

namespace edgec::test {

struct OpInput {
  Shape shape;
  std::vector<float> values;
  bool constant = false;
  int64_t extra_pitch = 0;
  bool absent = false;
};

struct OpRun {
  std::string op;
  AttrList attrs;
  std::vector<OpInput> inputs;
  int threads = 1;
  Isa isa = best_isa();
  int64_t extra_output_pitch = 0;
  int in_place_input = -1;  // the output overwrites this input, whose extra_pitch must be the output's
  // Set by run():
  Shape out_shape;
  std::vector<float> out;  // dense
  std::string kernel;

  Status infer(TensorType* out_type) {
    NodeInfo node = make_node();
    if (node.op == nullptr) return error(StatusCode::kInternal, "no operator %s", op.c_str());
    std::vector<const TensorType*> types;
    std::vector<const void*> values;
    describe(&types, &values);
    std::vector<TensorType> outputs;
    EDGEC_TRY(infer_node(node, types, values, &outputs));
    *out_type = outputs[0];
    return ok_status();
  }

  Status run() {
    TensorType out_type;
    EDGEC_TRY(infer(&out_type));
    out_shape = out_type.shape;
    NodeInfo node = make_node();
    Planner::Request request;
    request.node = {node.op, &node.attrs, node.name.c_str()};
    describe(&request.input_types, &request.input_values);
    // Poison between the rows: a kernel that reads it yields NaN, one that writes it is caught below.
    std::vector<std::vector<float>> memory(inputs.size() + 1);
    std::vector<TensorView> views(inputs.size() + 1);
    // As in a session, the lists are as long as the schema's.
    std::vector<TensorView*> in(std::max(inputs.size(), node.op->inputs.size()));
    std::vector<TensorView*> outs(std::max<size_t>(1, node.op->outputs.size()));
    for (size_t i = 0; i < inputs.size(); ++i) {
      request.input_pitches.push_back(0);
      if (inputs[i].absent) continue;
      const int64_t pitch = row_length(inputs[i].shape) + (inputs[i].constant ? 0 : inputs[i].extra_pitch);
      place(types_[i], inputs[i].values, pitch, &memory[i], &views[i]);
      in[i] = &views[i];
      request.input_pitches[i] = pitch;
    }
    const int64_t out_pitch = row_length(out_shape) + extra_output_pitch;
    place(out_type, std::vector<float>(static_cast<size_t>(out_shape.elements()), NAN), out_pitch,
          &memory.back(), &views.back());
    outs[0] = &views.back();
    if (in_place_input >= 0) {
      views.back() = views[static_cast<size_t>(in_place_input)];
      memory.back().swap(memory[static_cast<size_t>(in_place_input)]);
      request.aliased_input = in_place_input;
    }
    request.output_types = {&out_type};
    request.output_pitches = {out_pitch};
    request.isa = isa;
    request.threads = threads;
    SharedPacked shared;
    PlanPacked packed(&shared, 0);
    request.packed = &packed;
    PreparedNode prepared;
    EDGEC_TRY(Planner::prepare(request, &prepared));
    AlignedBlock scratch;
    if (!scratch.allocate(prepared.scratch_bytes)) return error(StatusCode::kOutOfMemory, "scratch");
    std::memset(static_cast<void*>(scratch.data()), 0xff, prepared.scratch_bytes);  // NaN
    ThreadPool pool(threads);
    EDGEC_TRY(prepared.step->run(StepArgs{in.data(), outs.data(), scratch.data(), pool}));
    kernel = prepared.step->kernel_name();
    out.clear();
    const int64_t length = row_length(out_shape), rows = out_shape.elements() / std::max<int64_t>(length, 1);
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = memory.back().data() + r * out_pitch;
      out.insert(out.end(), row, row + length);
      for (int64_t j = length; j < out_pitch; ++j)
        if (std::memcmp(&row[j], &kPoison, sizeof(float)) != 0)
          return error(StatusCode::kInternal, "wrote outside row %lld", static_cast<long long>(r));
    }
    return ok_status();
  }

 private:
  static constexpr float kPoison = -1e30f;
  static int64_t row_length(const Shape& s) { return s.rank() == 0 ? 1 : s.back(); }

  NodeInfo make_node() const {
    NodeInfo node;
    node.op = Registry::instance().find(op);
    node.name = "under_test";
    for (size_t i = 0; i < inputs.size(); ++i)
      node.inputs.push_back(inputs[i].absent ? kAbsent : static_cast<int32_t>(i));
    node.outputs = {static_cast<int32_t>(inputs.size())};
    node.attrs = attrs;
    return node;
  }
  void describe(std::vector<const TensorType*>* types, std::vector<const void*>* values) {
    types_.resize(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      types_[i] = {DType::kF32, inputs[i].shape, nullptr};
      types->push_back(inputs[i].absent ? nullptr : &types_[i]);
      values->push_back(!inputs[i].absent && inputs[i].constant ? inputs[i].values.data() : nullptr);
    }
  }
  // Exactly as long as needed, so that AddressSanitizer sees any read beyond the last row.
  static void place(const TensorType& type, const std::vector<float>& dense, int64_t pitch,
                    std::vector<float>* memory, TensorView* view) {
    const int64_t length = row_length(type.shape);
    const int64_t rows = type.shape.elements() / std::max<int64_t>(length, 1);
    memory->assign(static_cast<size_t>(rows * pitch), kPoison);
    for (int64_t r = 0; r < rows; ++r)
      std::copy(dense.begin() + r * length, dense.begin() + (r + 1) * length, memory->begin() + r * pitch);
    *view = dense_view(type, memory->data());
    view->pitch = pitch;
  }
  std::vector<TensorType> types_;
};

inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (int i = 0; i < kIsaCount; ++i)
    if (isa_supported(static_cast<Isa>(i))) isas.push_back(static_cast<Isa>(i));
  return isas;
}

}  // namespace edgec::test
