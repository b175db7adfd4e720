// Operators that compute every element from the elements at the same place (elementwise.def).
#pragma once
#include <cstdint>

#include "core/cpu.h"
#include "core/tensor.h"

namespace edgec {

// Sets of data types; f16 and bf16 compute in f32, bool and integers in 64 bits.
enum ElementwiseTypes : unsigned { kFloats = 1, kSigned = 2, kUnsigned = 4, kBool = 8 };
enum class ElementwiseResult { kSame, kBoolean };
inline constexpr double kInfinity = __builtin_inf();

enum class UnaryFunction : int {
#define EDGEC_UNARY(op, ...) k##op,
#include "kernels/elementwise/elementwise.def"
};
enum class BinaryFunction : int {
#define EDGEC_BINARY(op, ...) k##op,
#include "kernels/elementwise/elementwise.def"
};
inline constexpr int kUnaryCount = 0
#define EDGEC_UNARY(op, ...) +1
#include "kernels/elementwise/elementwise.def"
    ;
inline constexpr int kBinaryCount = 0
#define EDGEC_BINARY(op, ...) +1
#include "kernels/elementwise/elementwise.def"
    ;

// A block of planes of rows. Strides count elements; a step of 0 repeats one element along the row. Unary
// functions ignore b.
struct ElementwiseArgs {
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
  int64_t planes = 1, rows = 1, columns = 0;
  int64_t a_plane = 0, b_plane = 0, y_plane = 0;
  int64_t a_row = 0, b_row = 0, y_row = 0;
  int a_step = 1, b_step = 1;  // 0 or 1
  double alpha = 0, beta = 0;
};
using ElementwiseKernel = void (*)(const ElementwiseArgs&);

// Calls run(args of one plane) for each plane.
template <class Run>
void for_planes(const ElementwiseArgs& args, size_t a_bytes, size_t b_bytes, size_t y_bytes, const Run& run) {
  ElementwiseArgs plane = args;
  plane.planes = 1;
  for (int64_t p = 0; p < args.planes; ++p) {
    run(plane);
    plane.a = static_cast<const char*>(plane.a) + static_cast<size_t>(args.a_plane) * a_bytes;
    if (plane.b != nullptr)
      plane.b = static_cast<const char*>(plane.b) + static_cast<size_t>(args.b_plane) * b_bytes;
    plane.y = static_cast<char*>(plane.y) + static_cast<size_t>(args.y_plane) * y_bytes;
  }
}

// Null where the function is not defined for the type.
struct ElementwiseKernels {
  ElementwiseKernel unary[kUnaryCount];
  ElementwiseKernel binary[kBinaryCount];
};

// The type in which a function of these operands is computed, one of f32, f64, i64, u64.
DType compute_type(DType dtype);
const ElementwiseKernels& elementwise_kernels(DType compute, Isa isa);

struct ElementwiseTyping {
  DType compute = DType::kF32, a = DType::kF32, b = DType::kNone, y = DType::kF32;
};
// Runs a kernel on operands stored in other types than it computes in, a block at a time.
void run_elementwise(ElementwiseKernel kernel, const ElementwiseTyping& typing, const ElementwiseArgs& args);

// Whether `dtype` is in a set of ElementwiseTypes.
bool in_types(DType dtype, unsigned types);
// y = condition ? a : b for elements of 1, 2, 4 or 8 bytes; alpha and beta of args are unused.
void select_elements(size_t element_bytes, const uint8_t* condition, int64_t condition_plane,
                     int64_t condition_row, int condition_step, const ElementwiseArgs& args);

}  // namespace edgec
