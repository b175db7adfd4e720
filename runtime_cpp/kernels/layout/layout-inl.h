// Transposition in registers for one instruction set. A vector holds 16-byte pieces of as many rows of the
// source as it has 128-bit lanes, so that no shuffle crosses a lane.
#include <utility>

#include "kernels/layout/transpose.h"
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

// Elements may be wider than what they are made of, and then lie at any address.
template <class T>
struct loose_element {
  typedef T type __attribute__((aligned(1), may_alias));
};
template <class T>
using loose = typename loose_element<T>::type;

// Few channels: the loops over a constant number of them are left to the compiler, which has shuffles for
// groups of 2, 3 and 4.
template <class T, int channels>
void interleave(const char* source, int64_t source_stride, char* destination, int64_t count) {
  auto* to = reinterpret_cast<loose<T>*>(destination);
  const loose<T>* from[channels];
  for (int c = 0; c < channels; ++c) from[c] = reinterpret_cast<const loose<T>*>(source + c * source_stride);
  for (int64_t i = 0; i < count; ++i)
    for (int c = 0; c < channels; ++c) to[i * channels + c] = from[c][i];
}
template <class T, int channels>
void deinterleave(const char* source, char* destination, int64_t destination_stride, int64_t count) {
  const auto* from = reinterpret_cast<const loose<T>*>(source);
  loose<T>* to[channels];
  for (int c = 0; c < channels; ++c)
    to[c] = reinterpret_cast<loose<T>*>(destination + c * destination_stride);
  for (int64_t i = 0; i < count; ++i)
    for (int c = 0; c < channels; ++c) to[c][i] = from[i * channels + c];
}
template <class T, int step>
void every(const char* source, char* destination, int64_t count) {
  const auto* from = reinterpret_cast<const loose<T>*>(source);
  auto* to = reinterpret_cast<loose<T>*>(destination);
  for (int64_t i = 0; i < count; ++i) to[i] = from[i * step];
}
template <class T>
bool transpose_channels(const char* source, int64_t source_stride, char* destination,
                        int64_t destination_stride, int64_t rows, int64_t columns) {
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  if (destination_stride == columns * size) {
    if (columns == 2) return interleave<T, 2>(source, source_stride, destination, rows), true;
    if (columns == 3) return interleave<T, 3>(source, source_stride, destination, rows), true;
    if (columns == 4) return interleave<T, 4>(source, source_stride, destination, rows), true;
  }
  if (source_stride == rows * size) {
    if (rows == 2) return deinterleave<T, 2>(source, destination, destination_stride, columns), true;
    if (rows == 3) return deinterleave<T, 3>(source, destination, destination_stride, columns), true;
  }
  return false;
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define EDGEC_SHUFFLES 1
#endif
#endif

#if EDGEC_SHUFFLES

template <class T>
inline constexpr int kPiece = 16 / static_cast<int>(sizeof(T));

template <class T, int N, int... I>
EDGEC_INLINE vec<T, 2 * N> concat(vec<T, N> a, vec<T, N> b, std::integer_sequence<int, I...>) {
  return {__builtin_shufflevector(a.v, b.v, I...)};
}
// Pieces of rows first, first + kPiece, ... one per lane.
template <class T, int N>
EDGEC_INLINE vec<T, N> load_lanes(const char* source, int64_t stride, int64_t count) {
  if constexpr (N == kPiece<T>) {
    if (count <= 0) return vec<T, N>(T{});
    return load<T, N>(reinterpret_cast<const T*>(source));
  } else {
    return concat(load_lanes<T, N / 2>(source, stride, count),
                  load_lanes<T, N / 2>(source + N / 2 * stride, stride, count - N / 2),
                  std::make_integer_sequence<int, N>());
  }
}

// Elements of two vectors alternately, the lower or upper halves of each 128-bit lane.
template <class T, int N>
constexpr int zip_index(int k, bool upper) {
  constexpr int piece = kPiece<T>;
  return (k & 1 ? N : 0) + k / piece * piece + k % piece / 2 + (upper ? piece / 2 : 0);
}
template <bool upper, class T, int N, int... I>
EDGEC_INLINE vec<T, N> zip(vec<T, N> a, vec<T, N> b, std::integer_sequence<int, I...>) {
  return {__builtin_shufflevector(a.v, b.v, zip_index<T, N>(I, upper)...)};
}

// kPiece rows of the destination, N columns. log2(kPiece) rounds of zips transpose each lane's square.
template <class T, int N>
EDGEC_INLINE void transpose_tile(const char* source, int64_t source_stride, char* destination,
                                 int64_t destination_stride, int64_t columns) {
  constexpr int piece = kPiece<T>;
  constexpr auto indices = std::make_integer_sequence<int, N>();
  vec<T, N> r[piece], next[piece];
  for (int i = 0; i < piece; ++i)
    r[i] = load_lanes<T, N>(source + i * source_stride, source_stride, columns - i);
  for (int round = 1; round < piece; round *= 2) {
    for (int i = 0; i < piece / 2; ++i) {
      next[2 * i] = zip<false>(r[i], r[i + piece / 2], indices);
      next[2 * i + 1] = zip<true>(r[i], r[i + piece / 2], indices);
    }
    for (int i = 0; i < piece; ++i) r[i] = next[i];
  }
  for (int i = 0; i < piece; ++i) {
    T* to = reinterpret_cast<T*>(destination + i * destination_stride);
    if (columns >= N)
      store(to, r[i]);
    else
      store(to, r[i], columns);
  }
}

template <class T>
bool transpose(const char* source, int64_t source_stride, char* destination, int64_t destination_stride,
               int64_t rows, int64_t columns) {
  constexpr int64_t piece = kPiece<T>, width = lanes<T>;
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  if (transpose_channels<T>(source, source_stride, destination, destination_stride, rows, columns))
    return true;
  // Few columns: worth it where a store of a part of a vector is one instruction.
  if (rows < piece || (columns < width && sizeof(T) != 4)) return false;
  for (int64_t i = 0; i < rows; i += piece) {
    // The last tile of each direction overlaps the one before instead of having a tail.
    i = i + piece > rows ? rows - piece : i;
    const char* from = source + i * size;
    char* to = destination + i * destination_stride;
    if (columns < width) {
      transpose_tile<T, width>(from, source_stride, to, destination_stride, columns);
      continue;
    }
    for (int64_t j = 0; j < columns; j += width) {
      j = j + width > columns ? columns - width : j;
      transpose_tile<T, width>(from + j * source_stride, source_stride, to + j * size, destination_stride,
                               width);
    }
  }
  return true;
}

#else

template <class T>
bool transpose(const char* source, int64_t source_stride, char* destination, int64_t destination_stride,
               int64_t rows, int64_t columns) {
  return transpose_channels<T>(source, source_stride, destination, destination_stride, rows, columns);
}

#endif

}  // namespace

extern const TransposeKernels transpose_table = {
    transpose<uint8_t>,
    transpose<uint16_t>,
    transpose<uint32_t>,
    transpose<uint64_t>,
    {{every<uint8_t, 2>, every<uint8_t, 3>, every<uint8_t, 4>},
     {every<uint16_t, 2>, every<uint16_t, 3>, every<uint16_t, 4>},
     {every<uint32_t, 2>, every<uint32_t, 3>, every<uint32_t, 4>},
     {every<uint64_t, 2>, every<uint64_t, 3>, every<uint64_t, 4>}}};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
