// The C ABI over Model and Session. Nothing but edgec_status and plain data crosses this line: exceptions of
// containers end here, and every argument is checked.
#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <climits>
#include <cstdio>
#include <cstring>
#include <new>

#include "core/session.h"
#include "edgec/edgec.h"

struct edgec_model {
  std::shared_ptr<const edgec::Model> model;
};

struct edgec_session {
  std::unique_ptr<edgec::Session> session;
  std::atomic<bool> in_use{false};
};

namespace {

using edgec::error;
using edgec::ok_status;
using edgec::Status;
using edgec::StatusCode;

static_assert(EDGEC_MAX_RANK == edgec::kMaxRank, "edgec_shape has the ranks of the runtime");
static_assert(EDGEC_U2 == static_cast<int>(edgec::DType::kU2) && EDGEC_U2 + 1 == edgec::kDTypeCount,
              "edgec_dtype has the numbers of DType");
static_assert(EDGEC_E_INTERNAL == static_cast<int>(StatusCode::kInternal),
              "edgec_status has the numbers of StatusCode");

// Fixed, so that reporting that memory is exhausted needs none.
thread_local char last_error[2048] = "";

edgec_status report(StatusCode code, const char* message) {
  std::snprintf(last_error, sizeof(last_error), "%s", message);
  // Codes beyond the last public one are signals between parts of the runtime.
  return code > StatusCode::kInternal ? EDGEC_E_INTERNAL : static_cast<edgec_status>(code);
}

// Runs body and turns what it returns or throws into a status of the ABI.
template <class Body>
edgec_status guarded(Body body) {
  try {
    const Status status = body();
    return status.ok() ? EDGEC_OK : report(status.code(), status.message());
  } catch (const std::bad_alloc&) {
    return report(StatusCode::kOutOfMemory, "the system has no more memory");
  } catch (...) {
    return report(StatusCode::kInternal, "unexpected exception inside edgec; please report this");
  }
}

Status null_argument(const char* name) {
  return error(StatusCode::kInvalidArgument, "argument '%s' is null", name);
}

#define WANT(argument) \
  if ((argument) == nullptr) return null_argument(#argument)

// A caller's options structure, of whatever length, as the one this library knows.
template <class Options>
Status read_options(const Options* given, const char* name, Options* out) {
  if (given == nullptr) return ok_status();
  const size_t size = given->struct_size;
  // An unset member is the usual mistake: 0, or noise from the stack.
  if (size < sizeof(size_t) || size > 4096) {
    return error(StatusCode::kInvalidArgument, "%s.struct_size is %zu, set it to sizeof(%s)", name, size,
                 name);
  }
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(given);
  for (size_t i = sizeof(Options); i < size; ++i) {
    if (bytes[i] != 0) {
      return error(StatusCode::kUnsupported, "%s sets a member that edgec %s does not have", name,
                   EDGEC_VERSION);
    }
  }
  *out = Options{};
  std::memcpy(out, given, std::min(size, sizeof(Options)));
  return ok_status();
}

// Fills a caller's structure as far as it reaches.
template <class Result>
Status write_result(Result value, const char* name, Result* out) {
  const size_t size = out->struct_size;
  if (size < sizeof(size_t) || size > 4096) {
    return error(StatusCode::kInvalidArgument, "%s.struct_size is %zu, set it to sizeof(%s)", name, size,
                 name);
  }
  value.struct_size = size;
  std::memcpy(out, &value, std::min(size, sizeof(Result)));
  return ok_status();
}

// One thread at a time; the second one learns it instead of corrupting the arena.
class Exclusive {
 public:
  explicit Exclusive(edgec_session* session) : session_(session) {
    owned_ = !session->in_use.exchange(true, std::memory_order_acquire);
  }
  ~Exclusive() {
    if (owned_) session_->in_use.store(false, std::memory_order_release);
  }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;
  Status status() const {
    return owned_ ? ok_status()
                  : error(StatusCode::kInvalidArgument,
                          "another thread is using this session; give each thread a session of its own");
  }

 private:
  edgec_session* session_;
  bool owned_;
};

// `inputs` is how many the model has: a wrong count is refused before the array is read.
Status read_shapes(const edgec_shape* shapes, size_t count, size_t inputs, std::vector<edgec::Shape>* out) {
  if (shapes == nullptr && count != 0) return null_argument("input_shapes");
  if (count != inputs) {
    return error(StatusCode::kInvalidArgument, "got %zu input shapes, the model has %zu inputs", count,
                 inputs);
  }
  for (size_t i = 0; i < count; ++i) {
    if (shapes[i].rank < 0 || shapes[i].rank > EDGEC_MAX_RANK) {
      return error(StatusCode::kInvalidArgument, "input shape %zu has rank %" PRId32 ", expected 0 to %d", i,
                   shapes[i].rank, EDGEC_MAX_RANK);
    }
    out->emplace_back(shapes[i].dims, shapes[i].rank);
  }
  return ok_status();
}

Status find_isa(const char* name, edgec::Isa* out) {
  std::string known;
  for (int i = 0; i < edgec::kIsaCount; ++i) {
    const auto isa = static_cast<edgec::Isa>(i);
    if (std::strcmp(edgec::isa_name(isa), name) == 0) {
      *out = isa;
      return ok_status();
    }
    known += (i ? ", " : "") + std::string(edgec::isa_name(isa));
  }
  return error(StatusCode::kInvalidArgument, "isa '%.64s' is unknown; this library has %s", name,
               known.c_str());
}

Status create_session(const edgec_model& model, const edgec_session_options* given,
                      std::unique_ptr<edgec::Session>* out) {
  edgec_session_options options = EDGEC_SESSION_OPTIONS_INIT;
  EDGEC_TRY(read_options(given, "edgec_session_options", &options));
  edgec::SessionOptions core;
  core.threads = options.threads;
  core.max_memory = options.max_memory;
  if (options.input_shapes != nullptr || options.input_shape_count != 0) {
    EDGEC_TRY(read_shapes(options.input_shapes, options.input_shape_count, model.model->graph().inputs.size(),
                          &core.input_shapes));
  }
  if (options.isa != nullptr) EDGEC_TRY(find_isa(options.isa, &core.isa));
  return edgec::Session::create(model.model, core, out);
}

void set_quantization(const edgec::TensorInfo& tensor, edgec_tensor_info* info) {
  info->quantization_axis = -1;
  if (!tensor.quantized) return;
  info->scales = tensor.quantization.scale.data();
  info->zero_points = tensor.quantization.zero_point.data();
  info->quantization_count = tensor.quantization.scale.size();
  info->quantization_axis = tensor.quantization.axis;
}

edgec_shape to_c(const edgec::Shape& shape) {
  edgec_shape out = {};
  out.rank = shape.rank();
  std::copy(shape.begin(), shape.end(), out.dims);
  return out;
}

Status check_index(const char* kind, size_t index, size_t count) {
  if (index < count) return ok_status();
  return error(StatusCode::kInvalidArgument, "there is no %s %zu, the model has %zu", kind, index, count);
}

Status port_info(const edgec::Session& session, bool input, size_t index, edgec_tensor_info* out) {
  const edgec::Graph& graph = session.model().graph();
  const std::vector<int32_t>& ports = input ? graph.inputs : graph.outputs;
  EDGEC_TRY(check_index(input ? "input" : "output", index, ports.size()));
  const int i = static_cast<int>(index);
  const edgec::TensorType& type = input ? session.input_type(i) : session.output_type(i);
  edgec_tensor_info info = EDGEC_TENSOR_INFO_INIT;
  const edgec::TensorInfo& tensor = graph.tensors[static_cast<size_t>(ports[index])];
  info.name = tensor.name.c_str();
  info.dtype = static_cast<int32_t>(type.dtype);
  info.dynamic = !input && session.output_is_dynamic(i);
  info.shape = to_c(type.shape);
  info.bytes = type.bytes();
  set_quantization(tensor, &info);
  return write_result(info, "edgec_tensor_info", out);
}

int32_t port_index(const edgec_session* session, bool input, const char* name) {
  if (session == nullptr || name == nullptr) return -1;
  const edgec::Session& s = *session->session;
  const int count = input ? s.input_count() : s.output_count();
  for (int i = 0; i < count; ++i) {
    if ((input ? s.input_name(i) : s.output_name(i)) == name) return i;
  }
  return -1;
}

}  // namespace

extern "C" {

uint32_t edgec_abi_version(void) { return EDGEC_ABI_VERSION; }

const char* edgec_version(void) { return EDGEC_VERSION; }

const char* edgec_isa_name(void) { return edgec::isa_name(edgec::best_isa()); }

const char* edgec_status_name(edgec_status status) {
  switch (status) {
    case EDGEC_OK:
      return "EDGEC_OK";
    case EDGEC_E_ARGUMENT:
      return "EDGEC_E_ARGUMENT";
    case EDGEC_E_FILE:
      return "EDGEC_E_FILE";
    case EDGEC_E_VERSION:
      return "EDGEC_E_VERSION";
    case EDGEC_E_UNSUPPORTED:
      return "EDGEC_E_UNSUPPORTED";
    case EDGEC_E_MEMORY:
      return "EDGEC_E_MEMORY";
    case EDGEC_E_SHAPE:
      return "EDGEC_E_SHAPE";
    case EDGEC_E_CANCELLED:
      return "EDGEC_E_CANCELLED";
    case EDGEC_E_IO:
      return "EDGEC_E_IO";
    case EDGEC_E_SIGNATURE:
      return "EDGEC_E_SIGNATURE";
    case EDGEC_E_INTERNAL:
      return "EDGEC_E_INTERNAL";
  }
  return "unknown status";
}

size_t edgec_dtype_size(edgec_dtype dtype) {
  const int code = dtype;
  return code >= 0 && code < edgec::kDTypeCount ? edgec::dtype_size(static_cast<edgec::DType>(code)) : 0;
}

const char* edgec_dtype_name(edgec_dtype dtype) {
  const int code = dtype;
  return code >= 0 && code < edgec::kDTypeCount ? edgec::dtype_name(static_cast<edgec::DType>(code))
                                                : "invalid";
}

const char* edgec_last_error(void) { return last_error; }

edgec_status edgec_model_open(const char* path, const edgec_open_options* options, edgec_model** out) {
  return guarded([&]() -> Status {
    WANT(path);
    WANT(out);
    edgec_open_options known = EDGEC_OPEN_OPTIONS_INIT;
    EDGEC_TRY(read_options(options, "edgec_open_options", &known));
    auto model = std::make_unique<edgec_model>();
    edgec::LoadOptions load;
    load.max_file_size = known.max_file_size;
    load.verify_weights = known.verify_weights != 0;
    EDGEC_TRY(edgec::Model::open(path, load, &model->model));
    *out = model.release();
    return ok_status();
  });
}

edgec_status edgec_model_from_memory(const void* data, size_t size, int copy,
                                     const edgec_open_options* options, edgec_model** out) {
  return guarded([&]() -> Status {
    WANT(data);
    WANT(out);
    edgec_open_options known = EDGEC_OPEN_OPTIONS_INIT;
    EDGEC_TRY(read_options(options, "edgec_open_options", &known));
    auto model = std::make_unique<edgec_model>();
    edgec::LoadOptions load;
    load.max_file_size = known.max_file_size;
    load.verify_weights = known.verify_weights != 0;
    EDGEC_TRY(edgec::Model::from_memory(data, size, copy != 0, load, &model->model));
    *out = model.release();
    return ok_status();
  });
}

void edgec_model_free(edgec_model* model) { delete model; }

size_t edgec_model_input_count(const edgec_model* model) {
  return model ? model->model->graph().inputs.size() : 0;
}

size_t edgec_model_output_count(const edgec_model* model) {
  return model ? model->model->graph().outputs.size() : 0;
}

edgec_status edgec_model_input_info(const edgec_model* model, size_t index, edgec_tensor_info* info) {
  return guarded([&]() -> Status {
    WANT(model);
    WANT(info);
    const edgec::Graph& graph = model->model->graph();
    EDGEC_TRY(check_index("input", index, graph.inputs.size()));
    const edgec::TensorInfo& tensor = graph.tensors[static_cast<size_t>(graph.inputs[index])];
    edgec_tensor_info result = EDGEC_TENSOR_INFO_INIT;
    result.name = tensor.name.c_str();
    result.dtype = static_cast<int32_t>(tensor.dtype);
    result.shape = to_c(tensor.shape);
    const bool known =
        std::all_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t d) { return d >= 0; });
    result.bytes = known ? edgec::TensorType{tensor.dtype, tensor.shape, nullptr}.bytes() : 0;
    set_quantization(tensor, &result);
    return write_result(result, "edgec_tensor_info", info);
  });
}

const char* edgec_model_output_name(const edgec_model* model, size_t index) {
  if (index >= edgec_model_output_count(model)) return nullptr;
  const edgec::Graph& graph = model->model->graph();
  return graph.tensors[static_cast<size_t>(graph.outputs[index])].name.c_str();
}

edgec_status edgec_model_symbol(const edgec_model* model, size_t index, const char** name, int64_t* min,
                                int64_t* max) {
  return guarded([&]() -> Status {
    WANT(model);
    EDGEC_TRY(check_index("symbolic dimension", index, model->model->symbols.size()));
    const edgec::Symbol& symbol = model->model->symbols[index];
    if (name) *name = symbol.name.c_str();
    if (min) *min = symbol.min;
    if (max) *max = symbol.max;
    return ok_status();
  });
}

const char* edgec_model_metadata(const edgec_model* model, const char* key) {
  if (model == nullptr || key == nullptr) return nullptr;
  for (const auto& [name, value] : model->model->metadata) {
    if (name == key) return value.c_str();
  }
  return nullptr;
}

edgec_status edgec_model_required_bytes(const edgec_model* model, const edgec_session_options* options,
                                        size_t* bytes) {
  return guarded([&]() -> Status {
    WANT(model);
    WANT(bytes);
    std::unique_ptr<edgec::Session> session;
    EDGEC_TRY(create_session(*model, options, &session));
    const edgec::PlanStats& stats = session->stats();
    size_t total = stats.arena_bytes + stats.packed_bytes + stats.folded_bytes;
    for (int i = 0; i < session->input_count(); ++i) total += session->input_type(i).bytes();
    for (int i = 0; i < session->output_count(); ++i) total += session->output_type(i).bytes();
    *bytes = total;
    return ok_status();
  });
}

edgec_status edgec_session_create(const edgec_model* model, const edgec_session_options* options,
                                  edgec_session** out) {
  return guarded([&]() -> Status {
    WANT(model);
    WANT(out);
    auto session = std::make_unique<edgec_session>();
    EDGEC_TRY(create_session(*model, options, &session->session));
    *out = session.release();
    return ok_status();
  });
}

void edgec_session_free(edgec_session* session) { delete session; }

edgec_status edgec_prepare(edgec_session* session, const edgec_shape* input_shapes, size_t count) {
  return guarded([&]() -> Status {
    WANT(session);
    std::vector<edgec::Shape> shapes;
    EDGEC_TRY(read_shapes(input_shapes, count, edgec_input_count(session), &shapes));
    const Exclusive exclusive(session);
    EDGEC_TRY(exclusive.status());
    return session->session->prepare(shapes);
  });
}

size_t edgec_input_count(const edgec_session* session) {
  return session ? static_cast<size_t>(session->session->input_count()) : 0;
}

size_t edgec_output_count(const edgec_session* session) {
  return session ? static_cast<size_t>(session->session->output_count()) : 0;
}

int32_t edgec_input_index(const edgec_session* session, const char* name) {
  return port_index(session, true, name);
}

int32_t edgec_output_index(const edgec_session* session, const char* name) {
  return port_index(session, false, name);
}

edgec_status edgec_input_info(const edgec_session* session, size_t index, edgec_tensor_info* info) {
  return guarded([&]() -> Status {
    WANT(session);
    WANT(info);
    return port_info(*session->session, true, index, info);
  });
}

edgec_status edgec_output_info(const edgec_session* session, size_t index, edgec_tensor_info* info) {
  return guarded([&]() -> Status {
    WANT(session);
    WANT(info);
    return port_info(*session->session, false, index, info);
  });
}

edgec_status edgec_input_data(edgec_session* session, size_t index, void** data, size_t* bytes) {
  return guarded([&]() -> Status {
    WANT(session);
    WANT(data);
    const Exclusive exclusive(session);
    EDGEC_TRY(exclusive.status());
    EDGEC_TRY(check_index("input", index, edgec_input_count(session)));
    const int i = static_cast<int>(index);
    const size_t size = session->session->input_type(i).bytes();
    void* memory = session->session->input_data(i);
    if (memory == nullptr) {
      return error(StatusCode::kOutOfMemory, "input '%s': no memory for %zu bytes",
                   session->session->input_name(i).c_str(), size);
    }
    *data = memory;
    if (bytes) *bytes = size;
    return ok_status();
  });
}

edgec_status edgec_output_data(edgec_session* session, size_t index, const void** data, size_t* bytes) {
  return guarded([&]() -> Status {
    WANT(session);
    WANT(data);
    const Exclusive exclusive(session);
    EDGEC_TRY(exclusive.status());
    EDGEC_TRY(check_index("output", index, edgec_output_count(session)));
    const int i = static_cast<int>(index);
    const size_t size = session->session->output_type(i).bytes();
    const void* memory = session->session->output_data(i);
    // An empty tensor needs no address, and a dynamic output has none before the first run.
    if (memory == nullptr && session->session->output_is_dynamic(i) &&
        session->session->output_type(i).dtype == edgec::DType::kNone) {
      return error(StatusCode::kInvalidArgument,
                   "output '%s' has a shape that depends on the data; run first",
                   session->session->output_name(i).c_str());
    }
    if (memory == nullptr && size != 0) {
      return error(StatusCode::kOutOfMemory, "output '%s': no memory for %zu bytes",
                   session->session->output_name(i).c_str(), size);
    }
    *data = memory;
    if (bytes) *bytes = size;
    return ok_status();
  });
}

edgec_status edgec_bind_input(edgec_session* session, size_t index, const void* data, size_t bytes) {
  return guarded([&]() -> Status {
    WANT(session);
    const Exclusive exclusive(session);
    EDGEC_TRY(exclusive.status());
    EDGEC_TRY(check_index("input", index, edgec_input_count(session)));
    return session->session->bind_input(static_cast<int>(index), data, bytes);
  });
}

edgec_status edgec_bind_output(edgec_session* session, size_t index, void* data, size_t bytes) {
  return guarded([&]() -> Status {
    WANT(session);
    const Exclusive exclusive(session);
    EDGEC_TRY(exclusive.status());
    EDGEC_TRY(check_index("output", index, edgec_output_count(session)));
    return session->session->bind_output(static_cast<int>(index), data, bytes);
  });
}

edgec_status edgec_run(edgec_session* session) {
  return guarded([&]() -> Status {
    WANT(session);
    const Exclusive exclusive(session);
    EDGEC_TRY(exclusive.status());
    return session->session->run();
  });
}

edgec_status edgec_cancel(edgec_session* session) {
  return guarded([&]() -> Status {
    WANT(session);
    session->session->cancel();
    return ok_status();
  });
}

edgec_status edgec_session_stats(const edgec_session* session, edgec_memory_stats* stats) {
  return guarded([&]() -> Status {
    WANT(session);
    WANT(stats);
    const edgec::PlanStats& plan = session->session->stats();
    edgec_memory_stats result = EDGEC_MEMORY_STATS_INIT;
    result.arena_bytes = plan.arena_bytes;
    result.activation_peak = plan.activation_peak;
    result.packed_bytes = plan.packed_bytes;
    result.mapped_weight_bytes = plan.mapped_weight_bytes;
    result.folded_bytes = plan.folded_bytes;
    return write_result(result, "edgec_memory_stats", stats);
  });
}

}  // extern "C"
