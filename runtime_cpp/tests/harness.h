// A test harness in one header: TEST(name) { EXPECT(...); } in any number of files per executable.
//
//   ./format_test            runs everything
//   ./format_test cut byte   runs the tests whose name contains "cut" or "byte"
//   EDGEC_TEST_SEED=7 ...    another seed; the one in use is printed with every failure
#pragma once
#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "core/status.h"

namespace edgec::test {

struct TestCase {
  const char* name;
  void (*body)();
};
std::vector<TestCase>& all_tests();
struct Registration {
  Registration(const char* name, void (*body)()) { all_tests().push_back({name, body}); }
};

// Prints "file:line: message" and marks the running test as failed; it goes on.
[[gnu::format(printf, 3, 4)]] void fail(const char* file, int line, const char* format, ...);
// Failures of the running test so far; loops use it to stop after the first few.
int failures();
// True leaves the rest of the test out; counted and printed, so that a skip is seen.
[[gnu::format(printf, 1, 2)]] void skip(const char* format, ...);

uint64_t seed();

// xorshift64*: the same numbers on every platform, unlike <random>'s distributions.
class Random {
 public:
  explicit Random(uint64_t stream = 0)
      : state_((seed() + 1) * 0x9E3779B97F4A7C15ull + stream * 0xD1B54A32D192ED03ull + 1) {
    next();
    next();
  }
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Dull;
  }
  int64_t integer(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
  }
  float uniform(float low = -1, float high = 1) {
    return low + (high - low) * static_cast<float>(static_cast<double>(next() >> 11) * 0x1p-53);
  }
  std::vector<float> floats(size_t count, float low = -1, float high = 1) {
    std::vector<float> values(count);
    for (float& v : values) v = uniform(low, high);
    return values;
  }

 private:
  uint64_t state_;
};

template <class T>
std::string show(const T& value) {
  std::ostringstream text;
  if constexpr (sizeof(T) == 1 && std::is_integral_v<T>) {
    text << static_cast<int>(value);
  } else if constexpr (std::is_enum_v<T>) {
    text << static_cast<int64_t>(value);
  } else {
    text << value;
  }
  return text.str();
}

template <class A, class B>
void expect_equal(const A& actual, const B& expected, const char* what, const char* file, int line) {
  if (actual == expected) return;
  fail(file, line, "%s: got %s, expected %s", what, show(actual).c_str(), show(expected).c_str());
}

// |actual - expected| <= tolerance for each element; NaN equals NaN and infinities equal themselves. The
// tolerance is a formula of the caller, such as (k + 1) * eps * max|a| * max|b| * 2.
inline void expect_close(const float* actual, const float* expected, size_t count, double tolerance,
                         const char* what, const char* file, int line) {
  for (size_t i = 0; i < count; ++i) {
    const double a = actual[i], e = expected[i];
    const bool same = a == e || (std::isnan(a) && std::isnan(e)) || std::fabs(a - e) <= tolerance;
    if (same) continue;
    fail(file, line, "%s: element %zu of %zu is %.9g, expected %.9g (difference %.3g, allowed %.3g)", what, i,
         count, a, e, std::fabs(a - e), tolerance);
    return;
  }
}

template <class T>
void expect_same_bytes(const T* actual, const T* expected, size_t count, const char* what, const char* file,
                       int line) {
  for (size_t i = 0; i < count; ++i) {
    if (std::memcmp(actual + i, expected + i, sizeof(T)) == 0) continue;
    fail(file, line, "%s: element %zu of %zu is %s, expected %s", what, i, count, show(actual[i]).c_str(),
         show(expected[i]).c_str());
    return;
  }
}

inline void expect_ok(const Status& status, const char* what, const char* file, int line) {
  if (!status.ok())
    fail(file, line, "%s: error %d: %s", what, static_cast<int>(status.code()), status.message());
}

// The code, and a part of the message that the user needs.
inline void expect_error(const Status& status, StatusCode code, const char* part, const char* what,
                         const char* file, int line) {
  if (status.code() != code || std::strstr(status.message(), part) == nullptr) {
    fail(file, line, "%s: got code %d \"%s\", expected code %d with \"%s\"", what,
         static_cast<int>(status.code()), status.message(), static_cast<int>(code), part);
  }
}

}  // namespace edgec::test

#define TEST(name)                                                                              \
  static void edgec_test_##name();                                                              \
  static const ::edgec::test::Registration edgec_registration_##name(#name, edgec_test_##name); \
  static void edgec_test_##name()

#define EXPECT(condition)                                                                  \
  do {                                                                                     \
    if (!(condition)) ::edgec::test::fail(__FILE__, __LINE__, "not true: %s", #condition); \
  } while (false)
#define EXPECT_EQ(actual, expected) \
  ::edgec::test::expect_equal((actual), (expected), #actual, __FILE__, __LINE__)
#define EXPECT_OK(status) ::edgec::test::expect_ok((status), #status, __FILE__, __LINE__)
// Leaves the test when it failed: for what later lines depend on.
#define REQUIRE(condition)                                                 \
  do {                                                                     \
    if (!(condition)) {                                                    \
      ::edgec::test::fail(__FILE__, __LINE__, "not true: %s", #condition); \
      return;                                                              \
    }                                                                      \
  } while (false)
#define REQUIRE_OK(status)                                                 \
  do {                                                                     \
    const ::edgec::Status& edgec_required = (status);                      \
    ::edgec::test::expect_ok(edgec_required, #status, __FILE__, __LINE__); \
    if (!edgec_required.ok()) return;                                      \
  } while (false)
#define EXPECT_ERROR(status, code, part) \
  ::edgec::test::expect_error((status), (code), (part), #status, __FILE__, __LINE__)
#define EXPECT_CLOSE(actual, expected, count, tolerance) \
  ::edgec::test::expect_close((actual), (expected), (count), (tolerance), #actual, __FILE__, __LINE__)
#define EXPECT_SAME(actual, expected, count) \
  ::edgec::test::expect_same_bytes((actual), (expected), (count), #actual, __FILE__, __LINE__)
