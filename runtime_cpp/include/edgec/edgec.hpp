// edgec for C++17: a header over the C interface of edgec.h. Needs neither exceptions nor RTTI.
//
//   auto model = edgec::Model::open("net.edge");
//   if (!model) return fail(model.error().message);
//   auto session = edgec::Session::create(*model, edgec::SessionOptions().threads(4));
//   if (!session) return fail(session.error().message);
//   auto x = session->input<float>("x");               // Result<Span<float>>: the session's own memory
//   std::copy(pixels.begin(), pixels.end(), x->begin());
//   if (auto done = session->run(); !done) return fail(done.error().message);
//   for (float p : *session->output<float>(0)) use(p);
#ifndef EDGEC_EDGEC_HPP_
#define EDGEC_EDGEC_HPP_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "edgec/edgec.h"

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace edgec {
// The runtime itself has classes of these names in namespace edgec; the inline namespace keeps the two apart
// in programs that link it statically.
inline namespace client {

// What went wrong: the status of the C interface and a sentence with what, where, and what to do.
struct Error {
  edgec_status status = EDGEC_E_INTERNAL;
  std::string message;
};

namespace internal {
inline Error last_error(edgec_status status) { return Error{status, edgec_last_error()}; }

// value() on a failure is a mistake in the program. Exceptions where they exist, else the end.
[[noreturn]] inline void bad_access(const Error& error) {
#if defined(__cpp_exceptions)
  throw std::runtime_error(error.message);
#else
  std::fprintf(stderr, "edgec: %s\n", error.message.c_str());
  std::abort();
#endif
}
}  // namespace internal

// A T or an Error. Look before you use it: `if (!result) ... result.error()`, then `*result` or `result->`.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return error_; }
  // Throws std::runtime_error on a failure, or ends the program where exceptions are off.
  T& value() & {
    if (!ok()) internal::bad_access(error_);
    return *value_;
  }
  // By value, so that `for (float v : *session.output<float>(0))` does not outlive what it reads.
  T value() && {
    if (!ok()) internal::bad_access(error_);
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }

 private:
  std::optional<T> value_;
  Error error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}
  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const { return error_; }
  void value() const {
    if (!ok_) internal::bad_access(error_);
  }

 private:
  Error error_;
  bool ok_ = true;
};

// A pointer and a length.
template <class T>
class Span {
 public:
  Span() = default;
  Span(T* data, size_t size) : data_(data), size_(size) {}
  T* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

// The element type of the file format that a C++ type stands for. f16 and bf16 have none: use uint16_t with
// raw_input and raw_output.
template <class T>
constexpr edgec_dtype dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return EDGEC_F32;
  else if constexpr (std::is_same_v<T, double>)
    return EDGEC_F64;
  else if constexpr (std::is_same_v<T, bool>)
    return EDGEC_BOOL;
  else if constexpr (std::is_same_v<T, int8_t>)
    return EDGEC_I8;
  else if constexpr (std::is_same_v<T, uint8_t>)
    return EDGEC_U8;
  else if constexpr (std::is_same_v<T, int16_t>)
    return EDGEC_I16;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return EDGEC_U16;
  else if constexpr (std::is_same_v<T, int32_t>)
    return EDGEC_I32;
  else if constexpr (std::is_same_v<T, uint32_t>)
    return EDGEC_U32;
  else if constexpr (std::is_same_v<T, int64_t>)
    return EDGEC_I64;
  else if constexpr (std::is_same_v<T, uint64_t>)
    return EDGEC_U64;
  else
    return EDGEC_NONE;
}

using Shape = std::vector<int64_t>;

// An input or output; see edgec_tensor_info.
struct TensorInfo {
  std::string name;
  edgec_dtype dtype = EDGEC_NONE;
  Shape shape;  // asked from a model: -(i + 1) stands for symbolic dimension i
  size_t bytes = 0;
  bool dynamic = false;
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
  int quantization_axis = -1;
};

namespace internal {
inline TensorInfo to_cpp(const edgec_tensor_info& c) {
  TensorInfo info;
  info.name = c.name;
  info.dtype = static_cast<edgec_dtype>(c.dtype);
  info.shape.assign(c.shape.dims, c.shape.dims + c.shape.rank);
  info.bytes = c.bytes;
  info.dynamic = c.dynamic != 0;
  if (c.quantization_count != 0) {
    info.scales.assign(c.scales, c.scales + c.quantization_count);
    info.zero_points.assign(c.zero_points, c.zero_points + c.quantization_count);
  }
  info.quantization_axis = c.quantization_axis;
  return info;
}

inline Result<std::vector<edgec_shape>> to_c(const std::vector<Shape>& shapes) {
  std::vector<edgec_shape> out;
  for (const Shape& shape : shapes) {
    if (shape.size() > EDGEC_MAX_RANK) {
      return Error{EDGEC_E_ARGUMENT,
                   "a shape has " + std::to_string(shape.size()) + " dimensions, at most 8 are possible"};
    }
    edgec_shape c = {};
    c.rank = static_cast<int32_t>(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) c.dims[i] = shape[i];
    out.push_back(c);
  }
  return out;
}
}  // namespace internal

// A validated model. Immutable: any number of sessions and threads may use it; sessions outlive it safely.
class Model {
 public:
  // Maps the file; see edgec_model_open.
  static Result<Model> open(const std::string& path, const edgec_open_options* options = nullptr) {
    edgec_model* handle = nullptr;
    const edgec_status status = edgec_model_open(path.c_str(), options, &handle);
    if (status != EDGEC_OK) return internal::last_error(status);
    return Model(handle);
  }
  // copy = false: `data` is 64-byte aligned and outlives the model and its sessions.
  static Result<Model> from_memory(const void* data, size_t size, bool copy = true,
                                   const edgec_open_options* options = nullptr) {
    edgec_model* handle = nullptr;
    const edgec_status status = edgec_model_from_memory(data, size, copy ? 1 : 0, options, &handle);
    if (status != EDGEC_OK) return internal::last_error(status);
    return Model(handle);
  }
  Model(Model&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Model& operator=(Model&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Model() { edgec_model_free(handle_); }

  size_t input_count() const { return edgec_model_input_count(handle_); }
  size_t output_count() const { return edgec_model_output_count(handle_); }
  Result<TensorInfo> input_info(size_t index) const {
    edgec_tensor_info info = EDGEC_TENSOR_INFO_INIT;
    const edgec_status status = edgec_model_input_info(handle_, index, &info);
    if (status != EDGEC_OK) return internal::last_error(status);
    return internal::to_cpp(info);
  }
  // Empty when there is no such output.
  std::string output_name(size_t index) const {
    const char* name = edgec_model_output_name(handle_, index);
    return name ? name : "";
  }
  // Null when the model has no such key. "labels", "producer"...
  const char* metadata(const std::string& key) const { return edgec_model_metadata(handle_, key.c_str()); }
  const edgec_model* handle() const { return handle_; }

 private:
  explicit Model(edgec_model* handle) : handle_(handle) {}
  edgec_model* handle_;
};

class SessionOptions {
 public:
  // 0 = one thread per CPU that the process may use. Default 1.
  SessionOptions& threads(int count) { return threads_ = count, *this; }
  // Bytes for activations and packed weights together; more is refused by create and prepare. 0 = no limit.
  SessionOptions& max_memory(size_t bytes) { return max_memory_ = bytes, *this; }
  // One shape per input, in order. Default: the smallest that the model permits.
  SessionOptions& input_shapes(std::vector<Shape> shapes) { return shapes_ = std::move(shapes), *this; }
  // Forces an instruction set, "scalar" for example.
  SessionOptions& isa(std::string name) { return isa_ = std::move(name), *this; }

 private:
  friend class Session;
  int threads_ = 1;
  size_t max_memory_ = 0;
  std::vector<Shape> shapes_;
  std::string isa_;
};

// An input or output, by index or by name.
class Port {
 public:
  Port(int index) : index_(index) {}
  Port(size_t index) : index_(static_cast<int64_t>(index)) {}
  Port(const char* name) : name_(name) {}
  Port(const std::string& name) : name_(name.c_str()) {}

 private:
  friend class Session;
  const char* name_ = nullptr;
  int64_t index_ = -1;
};

// A model prepared for one set of input shapes. One thread at a time, except for cancel().
class Session {
 public:
  static Result<Session> create(const Model& model, const SessionOptions& options = SessionOptions()) {
    auto shapes = internal::to_c(options.shapes_);
    if (!shapes) return shapes.error();
    const edgec_session_options c = to_c(options, *shapes);
    edgec_session* handle = nullptr;
    const edgec_status status = edgec_session_create(model.handle(), &c, &handle);
    if (status != EDGEC_OK) return internal::last_error(status);
    return Session(handle);
  }
  // Bytes that create() with these options would hold; see edgec_model_required_bytes.
  static Result<size_t> required_bytes(const Model& model, const SessionOptions& options = SessionOptions()) {
    auto shapes = internal::to_c(options.shapes_);
    if (!shapes) return shapes.error();
    const edgec_session_options c = to_c(options, *shapes);
    size_t bytes = 0;
    const edgec_status status = edgec_model_required_bytes(model.handle(), &c, &bytes);
    if (status != EDGEC_OK) return internal::last_error(status);
    return bytes;
  }
  Session(Session&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Session& operator=(Session&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Session() { edgec_session_free(handle_); }

  // Other input shapes. Bindings are forgotten and spans become invalid, unless the shapes are the present
  // ones.
  Result<void> prepare(const std::vector<Shape>& input_shapes) {
    auto shapes = internal::to_c(input_shapes);
    if (!shapes) return shapes.error();
    return checked(edgec_prepare(handle_, shapes->data(), shapes->size()));
  }

  size_t input_count() const { return edgec_input_count(handle_); }
  size_t output_count() const { return edgec_output_count(handle_); }
  Result<TensorInfo> input_info(Port port) const {
    edgec_tensor_info info = EDGEC_TENSOR_INFO_INIT;
    const edgec_status status = edgec_input_info(handle_, input_index(port), &info);
    if (status != EDGEC_OK) return internal::last_error(status);
    return internal::to_cpp(info);
  }
  Result<TensorInfo> output_info(Port port) const {
    edgec_tensor_info info = EDGEC_TENSOR_INFO_INIT;
    const edgec_status status = edgec_output_info(handle_, output_index(port), &info);
    if (status != EDGEC_OK) return internal::last_error(status);
    return internal::to_cpp(info);
  }

  // The session's memory of an input, to be filled. The type has to be the input's.
  template <class T>
  Result<Span<T>> input(Port port) {
    auto info = input_info(port);
    if (!info) return info.error();
    if (Error error; !same_type<T>(*info, &error)) return error;
    auto raw = raw_input(port);
    if (!raw) return raw.error();
    return Span<T>(reinterpret_cast<T*>(raw->data()), raw->size() / sizeof(T));
  }
  // An output of the last run. The type has to be the output's.
  template <class T>
  Result<Span<const T>> output(Port port) {
    auto info = output_info(port);
    if (!info) return info.error();
    if (Error error; !same_type<T>(*info, &error)) return error;
    auto raw = raw_output(port);
    if (!raw) return raw.error();
    return Span<const T>(reinterpret_cast<const T*>(raw->data()), raw->size() / sizeof(T));
  }
  // The same as bytes, whatever the type.
  Result<Span<unsigned char>> raw_input(Port port) {
    void* data = nullptr;
    size_t bytes = 0;
    const edgec_status status = edgec_input_data(handle_, input_index(port), &data, &bytes);
    if (status != EDGEC_OK) return internal::last_error(status);
    return Span<unsigned char>(static_cast<unsigned char*>(data), bytes);
  }
  Result<Span<const unsigned char>> raw_output(Port port) {
    const void* data = nullptr;
    size_t bytes = 0;
    const edgec_status status = edgec_output_data(handle_, output_index(port), &data, &bytes);
    if (status != EDGEC_OK) return internal::last_error(status);
    return Span<const unsigned char>(static_cast<const unsigned char*>(data), bytes);
  }

  // The caller's memory instead, without a copy; see edgec_bind_input.
  Result<void> bind_input(Port port, const void* data, size_t bytes) {
    return checked(edgec_bind_input(handle_, input_index(port), data, bytes));
  }
  Result<void> bind_output(Port port, void* data, size_t bytes) {
    return checked(edgec_bind_output(handle_, output_index(port), data, bytes));
  }

  Result<void> run() { return checked(edgec_run(handle_)); }
  // From any thread.
  void cancel() { edgec_cancel(handle_); }
  Result<edgec_memory_stats> stats() const {
    edgec_memory_stats stats = EDGEC_MEMORY_STATS_INIT;
    const edgec_status status = edgec_session_stats(handle_, &stats);
    if (status != EDGEC_OK) return internal::last_error(status);
    return stats;
  }
  edgec_session* handle() const { return handle_; }

 private:
  explicit Session(edgec_session* handle) : handle_(handle) {}

  static edgec_session_options to_c(const SessionOptions& options, const std::vector<edgec_shape>& shapes) {
    edgec_session_options c = EDGEC_SESSION_OPTIONS_INIT;
    c.threads = options.threads_;
    c.max_memory = options.max_memory_;
    c.input_shapes = shapes.empty() ? nullptr : shapes.data();
    c.input_shape_count = shapes.size();
    c.isa = options.isa_.empty() ? nullptr : options.isa_.c_str();
    return c;
  }
  static Result<void> checked(edgec_status status) {
    if (status != EDGEC_OK) return internal::last_error(status);
    return {};
  }
  // An unknown name becomes an index that the C interface refuses.
  size_t input_index(Port port) const {
    return static_cast<size_t>(port.name_ ? edgec_input_index(handle_, port.name_) : port.index_);
  }
  size_t output_index(Port port) const {
    return static_cast<size_t>(port.name_ ? edgec_output_index(handle_, port.name_) : port.index_);
  }
  template <class T>
  static bool same_type(const TensorInfo& info, Error* error) {
    static_assert(dtype_of<T>() != EDGEC_NONE,
                  "no edgec type has this C++ type; use raw_input or raw_output");
    if (info.dtype == dtype_of<T>()) return true;
    *error = Error{EDGEC_E_ARGUMENT, "'" + info.name + "' is " + edgec_dtype_name(info.dtype) +
                                         ", asked for " + edgec_dtype_name(dtype_of<T>())};
    return false;
  }

  edgec_session* handle_;
};

inline std::string version() { return edgec_version(); }
inline std::string isa_name() { return edgec_isa_name(); }

}  // namespace client
}  // namespace edgec

#endif  // EDGEC_EDGEC_HPP_
