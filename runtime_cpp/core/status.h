// The result of everything that can fail: a code and, when it failed, a sentence for the user.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace edgec {

// The numbers are part of the C ABI (edgec_status in edgec.h) and never change.
enum class StatusCode : int32_t {
  kOk = 0,
  kInvalidArgument = 1,
  kBadFile = 2,
  kVersion = 3,
  kUnsupported = 4,
  kOutOfMemory = 5,
  kShape = 6,
  kCancelled = 7,
  kIo = 8,
  kSignature = 9,
  kInternal = 10,
  // Inference needs the value of an input that only the run will know. Never leaves the runtime.
  kNeedsValue = 100,
};

// One pointer wide; success allocates nothing, so run() may return it for every step.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message)
      : failure_(code == StatusCode::kOk ? nullptr : new Failure{code, std::move(message)}) {}
  bool ok() const { return failure_ == nullptr; }
  StatusCode code() const { return failure_ ? failure_->code : StatusCode::kOk; }
  const char* message() const { return failure_ ? failure_->message.c_str() : ""; }
  // Puts "where" in front of the message, so that an error reads from the outside in.
  Status with_context(const std::string& where) && {
    if (failure_) failure_->message = where + ": " + failure_->message;
    return std::move(*this);
  }

 private:
  struct Failure {
    StatusCode code;
    std::string message;
  };
  std::unique_ptr<Failure> failure_;
};

inline Status ok_status() { return Status(); }

// printf into a Status: error(StatusCode::kShape, "Conv2d wants %d inputs, got %d", ...).
[[gnu::format(printf, 2, 3)]] Status error(StatusCode code, const char* format, ...);
[[gnu::format(printf, 1, 2)]] std::string format_string(const char* format, ...);

#define EDGEC_TRY(expression)                            \
  do {                                                   \
    ::edgec::Status edgec_try_status = (expression);     \
    if (!edgec_try_status.ok()) return edgec_try_status; \
  } while (false)

}  // namespace edgec
