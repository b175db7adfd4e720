#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "edge_run.h"

namespace edgec::tools {
namespace {

constexpr char kHelp[] =
    "usage: edge_run MODEL.edge [options]\n"
    "\n"
    "Loads a model, runs it, and prints what it takes. Inputs that are not given are random.\n"
    "\n"
    "  --input [NAME=]FILE.npy|random   an input; the shape is taken from the file\n"
    "  --shape NAME:1x3x224x224         shape of an input with symbolic dimensions; also NAME:[1,3,224,224]\n"
    "  --output FOLDER                  write every output as FOLDER/NAME.npy\n"
    "  --expect [NAME=]FILE.npy         compare an output; exit code 1 when it differs\n"
    "  --atol A, --rtol R               |got - expected| <= A + R * |expected|   (1e-4, 1e-3; integers: "
    "equal)\n"
    "  --threads N                      0 = one per usable CPU                   (1)\n"
    "  --runs N, --warmup N             timed runs and untimed ones before them  (1, 0)\n"
    "  --seed N                         of random inputs                         (0)\n"
    "  --max-memory BYTES[K|M|G]        refuse to prepare beyond this            (no limit)\n"
    "  --isa NAME                       force an instruction set\n"
    "  --profile                        seconds per operator\n"
    "  --verify                         also check the checksum of the weights\n"
    "  --json                           one JSON object on standard output, nothing else\n"
    "  --version, --help\n"
    "\n"
    "exit codes: 0 success, 1 an output differs, 2 wrong usage, 3 the model needs something this version "
    "lacks,\n"
    "            4 damaged or unreadable file, 5 not enough memory, 6 a file is missing\n";

bool fail(int* exit_code, const char* message, const char* detail) {
  std::fprintf(stderr, "edge_run: %s: %s (edge_run --help)\n", message, detail);
  *exit_code = kUsage;
  return false;
}

bool parse_integer(const char* text, long long low, long long high, long long* out) {
  char* end = nullptr;
  errno = 0;
  *out = std::strtoll(text, &end, 10);
  return errno == 0 && end != text && *end == '\0' && *out >= low && *out <= high;
}

bool parse_number(const char* text, double* out) {
  char* end = nullptr;
  *out = std::strtod(text, &end);
  return end != text && *end == '\0' && *out >= 0;
}

bool parse_bytes(const char* text, size_t* out) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text, &end, 10);
  if (errno != 0 || end == text || text[0] == '-') return false;
  int shift = 0;
  if (*end == 'K' || *end == 'k') shift = 10;
  if (*end == 'M' || *end == 'm') shift = 20;
  if (*end == 'G' || *end == 'g') shift = 30;
  if (shift) ++end;
  if (*end != '\0' || value > (SIZE_MAX >> shift)) return false;
  *out = static_cast<size_t>(value) << shift;
  return true;
}

// "1x3x224x224" or "[1,3,224,224]"; "" and "[]" are scalars.
bool parse_shape(std::string text, Shape* out) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  if (text.empty()) return true;
  const char* p = text.c_str();
  while (true) {
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(p, &end, 10);
    if (errno != 0 || end == p || value < 0 || out->rank() == kMaxRank) return false;
    out->push_back(value);
    if (*end == '\0') return true;
    if (*end != 'x' && *end != ',') return false;
    p = end + 1;
    while (*p == ' ') ++p;
  }
}

std::pair<std::string, std::string> split_assignment(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return {"", text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// Applies one option; `value` is null when the option stands last. *takes_value tells what was used.
bool apply(const std::string& name, const char* value, Options* options, bool* takes_value, int* exit_code) {
  *takes_value = false;
  if (name == "--json") return options->json = true;
  if (name == "--profile") return options->profile = true;
  if (name == "--verify") return options->verify = true;
  static const char* const with_value[] = {"--input",  "--shape", "--output",     "--expect",
                                           "--atol",   "--rtol",  "--threads",    "--runs",
                                           "--warmup", "--seed",  "--max-memory", "--isa"};
  bool known = false;
  for (const char* candidate : with_value) known |= name == candidate;
  if (!known) return fail(exit_code, "unknown option", name.c_str());
  if (value == nullptr) return fail(exit_code, "option needs a value", name.c_str());
  *takes_value = true;

  long long number = 0;
  bool valid = true;
  if (name == "--input") {
    options->inputs.push_back(split_assignment(value));
  } else if (name == "--expect") {
    options->expected.push_back(split_assignment(value));
  } else if (name == "--shape") {
    const std::string text = value;
    // The last colon: names like "input:0" have one too.
    const size_t colon = text.rfind(':');
    Shape shape;
    valid = parse_shape(colon == std::string::npos ? text : text.substr(colon + 1), &shape);
    options->shapes.emplace_back(colon == std::string::npos ? "" : text.substr(0, colon), shape);
  } else if (name == "--output") {
    options->output = value;
  } else if (name == "--atol") {
    valid = parse_number(value, &options->absolute_tolerance);
  } else if (name == "--rtol") {
    valid = parse_number(value, &options->relative_tolerance);
  } else if (name == "--threads") {
    valid = parse_integer(value, 0, 256, &number);
    options->threads = static_cast<int>(number);
  } else if (name == "--runs") {
    valid = parse_integer(value, 1, 10000000, &number);
    options->runs = static_cast<int>(number);
  } else if (name == "--warmup") {
    valid = parse_integer(value, 0, 10000000, &number);
    options->warmup = static_cast<int>(number);
  } else if (name == "--seed") {
    valid = parse_integer(value, 0, LLONG_MAX, &number);
    options->seed = static_cast<uint64_t>(number);
  } else if (name == "--max-memory") {
    valid = parse_bytes(value, &options->max_memory);
  } else {
    options->isa = value;
  }
  return valid || fail(exit_code, ("wrong value for " + name).c_str(), value);
}

}  // namespace

bool parse_options(int argc, char** argv, Options* options, int* exit_code) {
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    if (name == "--help" || name == "-h") {
      std::fputs(kHelp, stdout);
      *exit_code = kSuccess;
      return false;
    }
    if (name == "--version") {
      std::printf("edge_run %s, %s\n", EDGEC_VERSION, isa_name(best_isa()));
      *exit_code = kSuccess;
      return false;
    }
    if (name.size() < 2 || name[0] != '-') {
      if (!options->model.empty()) return fail(exit_code, "more than one model", argv[i]);
      options->model = name;
      continue;
    }
    // --name=value as well as --name value.
    const size_t equals = name.find('=');
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (equals != std::string::npos) {
      value = argv[i] + equals + 1;
      name = name.substr(0, equals);
    }
    bool takes_value = false;
    if (!apply(name, value, options, &takes_value, exit_code)) return false;
    if (takes_value && equals == std::string::npos) ++i;
  }
  if (options->model.empty()) {
    std::fputs(kHelp, stderr);
    *exit_code = kUsage;
    return false;
  }
  return true;
}

}  // namespace edgec::tools
