// edge_run: runs one .edge file from the command line. The library is linked in, so that the binary alone can
// be copied to a board.
#include "edge_run.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <set>

namespace edgec::tools {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// A Status with the exit code it leads to.
struct Failure {
  int exit_code = kSuccess;
  std::string message;
};

int exit_code_of(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return kSuccess;
    case StatusCode::kInvalidArgument:
    case StatusCode::kShape:
      return kUsage;
    case StatusCode::kBadFile:
    case StatusCode::kSignature:
      return kBadModel;
    case StatusCode::kVersion:
    case StatusCode::kUnsupported:
      return kUnsupportedModel;
    case StatusCode::kOutOfMemory:
      return kResources;
    case StatusCode::kIo:
      return kMissing;
    case StatusCode::kCancelled:
    case StatusCode::kInternal:
    case StatusCode::kNeedsValue:
      return kBadModel;
  }
  return kBadModel;
}

#define RUN_TRY(expression)                                                                      \
  do {                                                                                           \
    const Status run_status = (expression);                                                      \
    if (!run_status.ok()) return Failure{exit_code_of(run_status.code()), run_status.message()}; \
  } while (false)

// splitmix64: random inputs are the same on every machine.
uint64_t next_random(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Floats in [-1, 1); 8-bit integers over their range; wider ones 0 or 1, as they are often indices.
void fill_random(const TensorType& type, uint64_t seed, void* data) {
  uint64_t state = seed;
  const int64_t count = type.shape.elements();
  const auto unit = [&] {
    return static_cast<float>(static_cast<double>(next_random(&state) >> 40) * 0x1p-23 - 1.0);
  };
  const auto bit = [&] { return static_cast<int>(next_random(&state) >> 63); };
  for (int64_t i = 0; i < count; ++i) {
    switch (type.dtype) {
      case DType::kF32:
        static_cast<float*>(data)[i] = unit();
        break;
      case DType::kF64:
        static_cast<double*>(data)[i] = static_cast<double>(unit());
        break;
      // 1.0 and -1.0 by their bit patterns.
      case DType::kF16:
        static_cast<uint16_t*>(data)[i] = bit() ? 0x3C00 : 0xBC00;
        break;
      case DType::kBF16:
        static_cast<uint16_t*>(data)[i] = bit() ? 0x3F80 : 0xBF80;
        break;
      case DType::kI8:
      case DType::kU8:
        static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(next_random(&state));
        break;
      case DType::kBool:
        static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(bit());
        break;
      case DType::kI16:
      case DType::kU16:
        static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bit());
        break;
      case DType::kI32:
      case DType::kU32:
        static_cast<uint32_t*>(data)[i] = static_cast<uint32_t>(bit());
        break;
      case DType::kI64:
      case DType::kU64:
        static_cast<uint64_t*>(data)[i] = static_cast<uint64_t>(bit());
        break;
      default:  // one byte per element, whatever it means
        static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(bit());
        break;
    }
  }
}

// Index of the tensor called `name`; "" means the only one. -1 with a message in *failure.
int find_port(const std::string& name, const std::vector<std::string>& names, const char* kind,
              Failure* failure) {
  if (name.empty() && names.size() == 1) return 0;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<int>(i);
  }
  std::string known;
  for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
  *failure = {kUsage, std::string("the model has no ") + kind + " '" + name + "'; it has " + known};
  return -1;
}

std::vector<std::string> input_names(const Graph& graph) {
  std::vector<std::string> names;
  for (int32_t t : graph.inputs) names.push_back(graph.tensors[static_cast<size_t>(t)].name);
  return names;
}

std::vector<std::string> output_names(const Graph& graph) {
  std::vector<std::string> names;
  for (int32_t t : graph.outputs) names.push_back(graph.tensors[static_cast<size_t>(t)].name);
  return names;
}

struct Feed {
  bool from_file = false;
  NpyArray array;
  std::string path;
};

// Files of inputs, and the shapes that files and --shape ask for.
Failure read_inputs(const Options& options, const Model& model, std::vector<Feed>* feeds,
                    std::vector<Shape>* shapes) {
  const Graph& graph = model.graph();
  const std::vector<std::string> names = input_names(graph);
  feeds->resize(names.size());
  for (int32_t t : graph.inputs) {
    Shape shape = graph.tensors[static_cast<size_t>(t)].shape;
    for (int d = 0; d < shape.rank(); ++d) {
      if (shape[d] < 0) shape[d] = model.symbols[static_cast<size_t>(-(shape[d] + 1))].min;
    }
    shapes->push_back(shape);
  }
  Failure failure;
  for (const auto& [name, shape] : options.shapes) {
    const int i = find_port(name, names, "input", &failure);
    if (i < 0) return failure;
    (*shapes)[static_cast<size_t>(i)] = shape;
  }
  for (const auto& [name, source] : options.inputs) {
    const int i = find_port(name, names, "input", &failure);
    if (i < 0) return failure;
    if (source == "random") continue;
    Feed& feed = (*feeds)[static_cast<size_t>(i)];
    RUN_TRY(read_npy(source.c_str(), &feed.array));
    feed.from_file = true;
    feed.path = source;
    (*shapes)[static_cast<size_t>(i)] = feed.array.shape;
  }
  return Failure{};
}

Failure fill_input(const Options& options, Session& session, int i, const Feed& feed) {
  const TensorType& type = session.input_type(i);
  void* data = session.input_data(i);
  if (data == nullptr) return {kResources, "no memory for input '" + session.input_name(i) + "'"};
  if (!feed.from_file) {
    fill_random(type, options.seed * 1000003 + static_cast<uint64_t>(i), data);
    return Failure{};
  }
  const NpyArray& array = feed.array;
  if (array.dtype == type.dtype) {
    std::memcpy(data, array.data.data(), type.bytes());
  } else if (array.dtype == DType::kF64 && type.dtype == DType::kF32) {
    // What numpy makes when nobody asks for a type.
    for (int64_t k = 0; k < type.shape.elements(); ++k) {
      double value;
      std::memcpy(&value, array.data.data() + k * 8, 8);
      static_cast<float*>(data)[k] = static_cast<float>(value);
    }
  } else {
    return {kUsage, feed.path + " has type " + dtype_name(array.dtype) + ", input '" + session.input_name(i) +
                        "' is " + dtype_name(type.dtype)};
  }
  return Failure{};
}

double element(DType dtype, const void* data, int64_t i) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<const float*>(data)[i];
    case DType::kF64:
      return static_cast<const double*>(data)[i];
    case DType::kI8:
      return static_cast<const int8_t*>(data)[i];
    case DType::kI16:
      return static_cast<const int16_t*>(data)[i];
    case DType::kF16:
    case DType::kBF16:
    case DType::kU16:
      return static_cast<const uint16_t*>(data)[i];
    case DType::kI32:
      return static_cast<const int32_t*>(data)[i];
    case DType::kU32:
      return static_cast<const uint32_t*>(data)[i];
    case DType::kI64:
      return static_cast<double>(static_cast<const int64_t*>(data)[i]);
    case DType::kU64:
      return static_cast<double>(static_cast<const uint64_t*>(data)[i]);
    default:  // one byte per element; equal bytes are all that is asked of them
      return static_cast<const uint8_t*>(data)[i];
  }
}

Failure compare_outputs(const Options& options, Session& session, Report* report) {
  Failure failure;
  const std::vector<std::string> names = output_names(session.model().graph());
  for (const auto& [name, path] : options.expected) {
    const int i = find_port(name, names, "output", &failure);
    if (i < 0) return failure;
    NpyArray expected;
    RUN_TRY(read_npy(path.c_str(), &expected));
    const TensorType& type = session.output_type(i);
    if (expected.dtype != type.dtype || expected.shape != type.shape) {
      return {kDiffers, "output '" + session.output_name(i) + "' is " + type.to_string() + ", " + path +
                            " holds " + TensorType{expected.dtype, expected.shape, nullptr}.to_string()};
    }
    Comparison comparison;
    comparison.name = session.output_name(i);
    comparison.same = true;
    const void* data = session.output_data(i);
    const bool real = type.dtype == DType::kF32 || type.dtype == DType::kF64;
    for (int64_t k = 0; k < type.shape.elements(); ++k) {
      const double got = element(type.dtype, data, k), want = element(type.dtype, expected.data.data(), k);
      if (got == want || (std::isnan(got) && std::isnan(want))) continue;
      const double difference = std::fabs(got - want);
      if (!(difference <= comparison.max_difference)) comparison.max_difference = difference;
      // 64-bit integers beyond 2^53 compare by their bytes below; every other integer is exact as a double.
      const double allowed =
          real ? options.absolute_tolerance + options.relative_tolerance * std::fabs(want) : 0;
      if (!(difference <= allowed)) comparison.same = false;
    }
    if (!real && type.bytes() != 0 && std::memcmp(data, expected.data.data(), type.bytes()) != 0) {
      comparison.same = false;
    }
    report->comparisons.push_back(comparison);
  }
  return Failure{};
}

// A tensor name may be "../x" or "a/b"; a file name may not.
std::string file_name_of(const std::string& tensor, std::set<std::string>* used) {
  std::string name;
  for (char c : tensor.substr(0, 150)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-' || c == '.';
    name += plain ? c : '_';
  }
  if (name.empty() || name[0] == '.') name = "_" + name;
  std::string unique = name;
  for (int i = 2; !used->insert(unique).second; ++i) unique = name + "_" + std::to_string(i);
  return unique + ".npy";
}

Failure write_outputs(const Options& options, Session& session, Report* report) {
  if (options.output.empty()) return Failure{};
  struct stat info;
  if (::stat(options.output.c_str(), &info) != 0 && ::mkdir(options.output.c_str(), 0777) != 0) {
    return {kMissing, "cannot make the folder '" + options.output + "': " + std::strerror(errno)};
  }
  std::set<std::string> used;
  for (int i = 0; i < session.output_count(); ++i) {
    const std::string path = options.output + "/" + file_name_of(session.output_name(i), &used);
    RUN_TRY(write_npy(path.c_str(), session.output_type(i), session.output_data(i)));
    report->written.emplace_back(session.output_name(i), path);
  }
  return Failure{};
}

Failure choose_isa(const std::string& name, Isa* out) {
  if (name.empty()) return Failure{};
  std::string known;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (name == isa_name(isa)) {
      *out = isa;
      return Failure{};
    }
    if (isa_supported(isa)) known += std::string(known.empty() ? "" : ", ") + isa_name(isa);
  }
  return {kUsage, "unknown instruction set '" + name + "'; this CPU has " + known};
}

Failure run_model(const Options& options, Report* report, std::unique_ptr<Session>* session) {
  std::shared_ptr<const Model> model;
  LoadOptions load;
  load.verify_weights = options.verify;
  Clock::time_point begin = Clock::now();
  RUN_TRY(Model::open(options.model.c_str(), load, &model));
  report->load_ms = milliseconds_since(begin);

  SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.max_memory = options.max_memory;
  Failure failure = choose_isa(options.isa, &session_options.isa);
  if (failure.exit_code != kSuccess) return failure;
  std::vector<Feed> feeds;
  failure = read_inputs(options, *model, &feeds, &session_options.input_shapes);
  if (failure.exit_code != kSuccess) return failure;
  begin = Clock::now();
  RUN_TRY(Session::create(model, session_options, session));
  report->prepare_ms = milliseconds_since(begin);
  Session& s = **session;
  for (int i = 0; i < s.input_count(); ++i) {
    failure = fill_input(options, s, i, feeds[static_cast<size_t>(i)]);
    if (failure.exit_code != kSuccess) return failure;
  }

  begin = Clock::now();
  RUN_TRY(s.run());
  report->first_run_ms = milliseconds_since(begin);
  for (int i = 0; i < options.warmup; ++i) RUN_TRY(s.run());
  report->run_ms.reserve(static_cast<size_t>(options.runs));
  for (int i = 0; i < options.runs; ++i) {
    begin = Clock::now();
    RUN_TRY(s.run());
    report->run_ms.push_back(milliseconds_since(begin));
  }
  if (options.profile) {
    report->profile_runs = options.runs;
    for (int i = 0; i < options.runs; ++i) RUN_TRY(s.profile(&report->step_seconds));
  }
  failure = compare_outputs(options, s, report);
  if (failure.exit_code != kSuccess) return failure;
  return write_outputs(options, s, report);
}

int main_of(int argc, char** argv) {
  Options options;
  int exit_code = kSuccess;
  if (!parse_options(argc, argv, &options, &exit_code)) return exit_code;
  Report report;
  std::unique_ptr<Session> session;
  const Failure failure = run_model(options, &report, &session);
  if (failure.exit_code != kSuccess) {
    std::fprintf(stderr, "edge_run: %s\n", failure.message.c_str());
    return failure.exit_code;
  }
  (options.json ? print_json : print_text)(options, *session, report);
  for (const Comparison& comparison : report.comparisons) {
    if (!comparison.same) return kDiffers;
  }
  return kSuccess;
}

}  // namespace
}  // namespace edgec::tools

int main(int argc, char** argv) {
  try {
    return edgec::tools::main_of(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "edge_run: not enough memory\n");
    return edgec::tools::kResources;
  }
}
