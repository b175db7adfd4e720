#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/elementwise/convert.h"

// The scalar types share one set of kernels: they are rare outside shape arithmetic.
#define EDGEC_ISA_NS generic
#include "kernels/elementwise/scalar_math.h"
//
#include "kernels/elementwise/functors.h"

#define EDGEC_FAMILY_TYPE ElementwiseKernels
#define EDGEC_FAMILY_TABLE elementwise_f32
#define EDGEC_FAMILY_ISAS "elementwise_isas.inc"
#define EDGEC_FAMILY_FIND elementwise_f32_kernels
#include "kernels/family_table.inc"

namespace edgec {
namespace generic {
namespace {

// Attributes are doubles; an integer function wants them saturated (Clip's infinite defaults).
template <class V>
V parameter(double value) {
  if constexpr (std::is_same_v<V, wrapping>) {
    int64_t integer;
    store_as(DType::kI64, &value, 1, &integer);
    return wrapping(integer);
  } else {
    V integer;
    store_as(std::is_same_v<V, double> ? DType::kF64 : DType::kU64, &value, 1, &integer);
    return integer;
  }
}
template <class V>
Parameters<V> parameters(const ElementwiseArgs& s) {
  return {parameter<V>(s.alpha), parameter<V>(s.beta)};
}
template <class V, class R>
using stored = std::conditional_t<std::is_same_v<R, V>, V, bool>;

template <class F, class V>
void unary(const ElementwiseArgs& s) {
  const Parameters<V> p = parameters<V>(s);
  using Y = stored<V, decltype(F::apply(V(), p))>;
  for (int64_t r = 0; r < s.rows; ++r) {
    const V* x = static_cast<const V*>(s.a) + r * s.a_row;
    Y* y = static_cast<Y*>(s.y) + r * s.y_row;
    for (int64_t i = 0; i < s.columns; ++i) y[i] = static_cast<Y>(F::apply(x[i], p));
  }
}
template <class F, class V>
void binary(const ElementwiseArgs& s) {
  const Parameters<V> p = parameters<V>(s);
  using Y = stored<V, decltype(F::apply(V(), V(), p))>;
  for (int64_t r = 0; r < s.rows; ++r) {
    const V* a = static_cast<const V*>(s.a) + r * s.a_row;
    const V* b = static_cast<const V*>(s.b) + r * s.b_row;
    Y* y = static_cast<Y*>(s.y) + r * s.y_row;
    for (int64_t i = 0; i < s.columns; ++i)
      y[i] = static_cast<Y>(F::apply(a[i * s.a_step], b[i * s.b_step], p));
  }
}
template <>
void unary<Gelu, double>(const ElementwiseArgs& s) {
  const Parameters<double> p = {};
  for (int64_t r = 0; r < s.rows; ++r) {
    const double* x = static_cast<const double*>(s.a) + r * s.a_row;
    double* y = static_cast<double*>(s.y) + r * s.y_row;
    for (int64_t i = 0; i < s.columns; ++i)
      y[i] = s.alpha != 0 ? GeluTanh::apply(x[i], p) : Gelu::apply(x[i], p);
  }
}

template <class F, class V, bool wanted>
constexpr ElementwiseKernel unary_kernel() {
  if constexpr (wanted)
    return unary<F, V>;
  else
    return nullptr;
}
template <class F, class V, bool wanted>
constexpr ElementwiseKernel binary_kernel() {
  if constexpr (wanted)
    return binary<F, V>;
  else
    return nullptr;
}

constexpr ElementwiseKernels kF64Kernels = {{
#define EDGEC_UNARY(op, types, ...) unary_kernel<op, double, ((types)&kFloats) != 0>(),
#include "kernels/elementwise/elementwise.def"
                                            },
                                            {
#define EDGEC_BINARY(op, types, ...) binary_kernel<op, double, ((types)&kFloats) != 0>(),
#include "kernels/elementwise/elementwise.def"
                                            }};
constexpr ElementwiseKernels kI64Kernels = {{
#define EDGEC_UNARY(op, types, ...) unary_kernel<op, wrapping, ((types)&kSigned) != 0>(),
#include "kernels/elementwise/elementwise.def"
                                            },
                                            {
#define EDGEC_BINARY(op, types, ...) binary_kernel<op, wrapping, ((types)&kSigned) != 0>(),
#include "kernels/elementwise/elementwise.def"
                                            }};
constexpr ElementwiseKernels kU64Kernels = {{
#define EDGEC_UNARY(op, types, ...) unary_kernel<op, uint64_t, ((types) & (kUnsigned | kBool)) != 0>(),
#include "kernels/elementwise/elementwise.def"
                                            },
                                            {
#define EDGEC_BINARY(op, types, ...) binary_kernel<op, uint64_t, ((types) & (kUnsigned | kBool)) != 0>(),
#include "kernels/elementwise/elementwise.def"
                                            }};

}  // namespace
}  // namespace generic

const ElementwiseKernels& elementwise_kernels(DType compute, Isa isa) {
  switch (compute) {
    case DType::kF64:
      return generic::kF64Kernels;
    case DType::kI64:
      return generic::kI64Kernels;
    case DType::kU64:
      return generic::kU64Kernels;
    default:
      return elementwise_f32_kernels(isa);
  }
}

DType compute_type(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return DType::kF64;
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64:
      return DType::kI64;
    case DType::kBool:
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
    case DType::kU64:
      return DType::kU64;
    default:
      return DType::kF32;
  }
}

bool in_types(DType dtype, unsigned types) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF64:
      return (types & kFloats) != 0;
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64:
      return (types & kSigned) != 0;
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
    case DType::kU64:
      return (types & kUnsigned) != 0;
    case DType::kBool:
      return (types & kBool) != 0;
    default:
      return false;  // the small types are stored and converted only
  }
}

namespace {

constexpr int64_t kBlock = 256;

template <class V>
void run_converted(ElementwiseKernel kernel, const ElementwiseTyping& typing, const ElementwiseArgs& args) {
  V a[kBlock], b[kBlock], y[kBlock];
  const size_t a_size = dtype_size(typing.a), b_size = dtype_size(typing.b), y_size = dtype_size(typing.y);
  ElementwiseArgs block = args;
  block.rows = 1;
  block.a = a;
  block.b = b;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t i = 0; i < args.columns; i += kBlock) {
      block.columns = std::min(kBlock, args.columns - i);
      const auto at = [&](const void* base, int64_t row, int step, size_t size) {
        return static_cast<const char*>(base) + static_cast<size_t>(r * row + i * step) * size;
      };
      load_as(typing.a, at(args.a, args.a_row, args.a_step, a_size), args.a_step == 0 ? 1 : block.columns, a);
      if (args.b != nullptr)
        load_as(typing.b, at(args.b, args.b_row, args.b_step, b_size), args.b_step == 0 ? 1 : block.columns,
                b);
      void* target = const_cast<char*>(at(args.y, args.y_row, 1, y_size));
      // Kernels write a boolean result as such.
      block.y = typing.y == DType::kBool ? target : y;
      kernel(block);
      if (typing.y != DType::kBool) store_as(typing.y, y, block.columns, target);
    }
  }
}

template <class T>
void select_typed(const uint8_t* condition, int64_t condition_row, int condition_step,
                  const ElementwiseArgs& s) {
  for (int64_t r = 0; r < s.rows; ++r) {
    const uint8_t* c = condition + r * condition_row;
    const T* a = static_cast<const T*>(s.a) + r * s.a_row;
    const T* b = static_cast<const T*>(s.b) + r * s.b_row;
    T* y = static_cast<T*>(s.y) + r * s.y_row;
    if (condition_step == 1 && s.a_step == 1 && s.b_step == 1) {
      for (int64_t i = 0; i < s.columns; ++i) y[i] = c[i] ? a[i] : b[i];
    } else if (condition_step == 1 && s.a_step == 0 && s.b_step == 1) {  // masked_fill
      const T fixed = *a;
      for (int64_t i = 0; i < s.columns; ++i) y[i] = c[i] ? fixed : b[i];
    } else {
      for (int64_t i = 0; i < s.columns; ++i)
        y[i] = c[i * condition_step] ? a[i * s.a_step] : b[i * s.b_step];
    }
  }
}

}  // namespace

void run_elementwise(ElementwiseKernel kernel, const ElementwiseTyping& typing, const ElementwiseArgs& args) {
  const bool direct = (typing.y == typing.compute || typing.y == DType::kBool) &&
                      typing.a == typing.compute && (args.b == nullptr || typing.b == typing.compute);
  // The f32 kernels walk planes themselves.
  if (direct && typing.compute == DType::kF32) return kernel(args);
  for_planes(args, dtype_size(typing.a), dtype_size(typing.b), dtype_size(typing.y),
             [&](const ElementwiseArgs& plane) {
               if (direct) return kernel(plane);
               switch (typing.compute) {
                 case DType::kF64:
                   return run_converted<double>(kernel, typing, plane);
                 case DType::kI64:
                   return run_converted<int64_t>(kernel, typing, plane);
                 case DType::kU64:
                   return run_converted<uint64_t>(kernel, typing, plane);
                 default:
                   return run_converted<float>(kernel, typing, plane);
               }
             });
}

void select_elements(size_t element_bytes, const uint8_t* condition, int64_t condition_plane,
                     int64_t condition_row, int condition_step, const ElementwiseArgs& args) {
  for_planes(args, element_bytes, element_bytes, element_bytes, [&](const ElementwiseArgs& plane) {
    switch (element_bytes) {
      case 1:
        select_typed<uint8_t>(condition, condition_row, condition_step, plane);
        break;
      case 2:
        select_typed<uint16_t>(condition, condition_row, condition_step, plane);
        break;
      case 4:
        select_typed<uint32_t>(condition, condition_row, condition_step, plane);
        break;
      default:
        select_typed<uint64_t>(condition, condition_row, condition_step, plane);
    }
    condition += condition_plane;
  });
}

}  // namespace edgec
