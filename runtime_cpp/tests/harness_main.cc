#include <cstdlib>

#include "harness.h"

namespace edgec::test {
namespace {

int current_failures = 0;
bool current_skipped = false;

}  // namespace

std::vector<TestCase>& all_tests() {
  static std::vector<TestCase> tests;
  return tests;
}

void fail(const char* file, int line, const char* format, ...) {
  ++current_failures;
  std::fprintf(stderr, "%s:%d: ", file, line);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, " (seed %" PRIu64 ")\n", seed());
}

int failures() { return current_failures; }

void skip(const char* format, ...) {
  current_skipped = true;
  std::printf("  skipped: ");
  va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
  std::printf("\n");
}

uint64_t seed() {
  static const uint64_t value = [] {
    const char* text = std::getenv("EDGEC_TEST_SEED");
    return text ? std::strtoull(text, nullptr, 0) : 0;
  }();
  return value;
}

namespace {

bool selected(const char* name, int argc, char** argv) {
  if (argc <= 1) return true;
  for (int i = 1; i < argc; ++i) {
    if (std::strstr(name, argv[i]) != nullptr) return true;
  }
  return false;
}

int run_tests(int argc, char** argv) {
  int ran = 0, failed = 0, skipped = 0;
  for (const TestCase& test : all_tests()) {
    if (!selected(test.name, argc, argv)) continue;
    std::printf("%s\n", test.name);
    std::fflush(stdout);
    current_failures = 0;
    current_skipped = false;
    test.body();
    ++ran;
    skipped += current_skipped;
    if (current_failures > 0) {
      ++failed;
      std::printf("  FAILED\n");
    }
  }
  std::printf("%d tests, %d failed, %d skipped, seed %" PRIu64 "\n", ran, failed, skipped, seed());
  // No test at all is a mistake in the name, not a success.
  return failed > 0 || ran == 0 ? 1 : 0;
}

}  // namespace
}  // namespace edgec::test

int main(int argc, char** argv) { return edgec::test::run_tests(argc, argv); }
