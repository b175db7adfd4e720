// What the parts of edge_run share.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/session.h"
#include "npy.h"

namespace edgec::tools {

// Documented in `edge_run --help` and stable.
enum ExitCode {
  kSuccess = 0,
  kDiffers = 1,
  kUsage = 2,
  kUnsupportedModel = 3,
  kBadModel = 4,
  kResources = 5,
  kMissing = 6
};

struct Options {
  std::string model;
  std::vector<std::pair<std::string, std::string>> inputs;    // name ("" = the only one), file or "random"
  std::vector<std::pair<std::string, std::string>> expected;  // name ("" = the only one), file
  std::vector<std::pair<std::string, Shape>> shapes;
  std::string output;  // folder
  int threads = 1;
  int runs = 1;
  int warmup = 0;
  uint64_t seed = 0;
  size_t max_memory = 0;
  double absolute_tolerance = 1e-4, relative_tolerance = 1e-3;
  std::string isa;
  bool json = false, profile = false, verify = false;
};

// False: the message, if any, has been printed and *exit_code is what to return.
bool parse_options(int argc, char** argv, Options* options, int* exit_code);

struct Comparison {
  std::string name;
  double max_difference = 0;
  bool same = false;
};

struct Report {
  double load_ms = 0, prepare_ms = 0, first_run_ms = 0;
  std::vector<double> run_ms;  // without warm-up
  std::vector<double> step_seconds;
  int profile_runs = 0;
  std::vector<std::pair<std::string, std::string>> written;  // output, path
  std::vector<Comparison> comparisons;
};

void print_text(const Options& options, const Session& session, const Report& report);
void print_json(const Options& options, const Session& session, const Report& report);

}  // namespace edgec::tools
