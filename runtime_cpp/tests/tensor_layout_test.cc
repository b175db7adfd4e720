// Strided copies, transposition and padding against index arithmetic.
#include <algorithm>

#include "harness.h"
#include "kernels/layout/pad.h"
#include "kernels/layout/strided_copy.h"
#include "kernels/layout/transpose.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

std::vector<uint8_t> random_bytes(Random& random, size_t count) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.next() >> 40);
  return bytes;
}

}  // namespace

TEST(transpose_block_every_size) {
  Random random(1);
  for (Isa isa : supported_isas()) {
    for (size_t size : {size_t{1}, size_t{2}, size_t{4}, size_t{8}, size_t{16}}) {
      // Around a 16-byte piece and a 64-byte vector, and the few channels that have loops of their own.
      std::vector<int64_t> sizes = {1, 2, 3, 4, 5};
      for (int64_t edge : {16 / static_cast<int64_t>(size), 64 / static_cast<int64_t>(size)})
        for (int64_t n = edge - 1; n <= edge + 1; ++n)
          if (n > 0) sizes.push_back(n);
      sizes.push_back(131);
      for (int64_t rows : sizes) {
        for (int64_t columns : sizes) {
          // Dense on even rounds; else a gap, which must be neither read nor written, and odd addresses.
          for (int64_t gap : {0, 3}) {
            if (failures() > 4) return;
            const auto bytes = static_cast<int64_t>(size);
            const int64_t from_stride = rows * bytes + gap, to_stride = columns * bytes + gap;
            const std::vector<uint8_t> from =
                random_bytes(random, static_cast<size_t>(columns * from_stride - gap));
            std::vector<uint8_t> to(static_cast<size_t>(rows * to_stride - gap), 0xa5), expected = to;
            for (int64_t i = 0; i < rows; ++i)
              for (int64_t j = 0; j < columns; ++j)
                std::memcpy(&expected[static_cast<size_t>(i * to_stride + j * bytes)],
                            &from[static_cast<size_t>(j * from_stride + i * bytes)], size);
            transpose_block(isa, size, reinterpret_cast<const char*>(from.data()), from_stride,
                            reinterpret_cast<char*>(to.data()), to_stride, rows, columns);
            const std::string what = format_string(
                "%s %zu bytes %lld x %lld gap %lld", isa_name(isa), size, static_cast<long long>(rows),
                static_cast<long long>(columns), static_cast<long long>(gap));
            expect_same_bytes(to.data(), expected.data(), to.size(), what.c_str(), __FILE__, __LINE__);
          }
        }
      }
    }
  }
}

// Random permutations with gaps, repeats and reversals, every element size.
TEST(strided_copy_random) {
  Random random(2);
  ThreadPool one(1), three(3);
  for (int trial = 0; trial < 3000 && failures() < 5; ++trial) {
    const size_t size = size_t{1} << random.integer(0, 3);
    const int rank = static_cast<int>(random.integer(0, 6));
    const int64_t most = rank <= 2 ? 150 : rank <= 4 ? 20 : 5;
    std::vector<CopyDim> dims(static_cast<size_t>(rank));
    int64_t destination = 1;
    for (int i = rank - 1; i >= 0; --i) {
      CopyDim& dim = dims[static_cast<size_t>(i)];
      dim.size = random.integer(random.integer(0, 9) == 0 ? 0 : 1, most);
      dim.destination = destination;
      destination *= std::max<int64_t>(dim.size, 1) + random.integer(0, 3) / 3;
    }
    // Source strides in a random order of the dimensions.
    std::vector<size_t> order(dims.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[static_cast<size_t>(random.integer(0, static_cast<int64_t>(i) - 1))]);
    int64_t span = 1, start = 0;
    const bool keep_order = random.integer(0, 1) == 0;
    for (size_t k = 0; k < order.size(); ++k) {
      CopyDim& dim = dims[keep_order ? order.size() - 1 - k : order[k]];
      const int64_t kind = random.integer(0, 9);
      if (kind == 0) {
        dim.source = 0;
        continue;
      }
      dim.source = span;
      span *= std::max<int64_t>(dim.size, 1) + (kind == 1 ? 2 : 0);
      if (kind == 2) {
        start += dim.source * std::max<int64_t>(dim.size - 1, 0);
        dim.source = -dim.source;
      }
    }
    const std::vector<uint8_t> from = random_bytes(random, static_cast<size_t>(span) * size);
    std::vector<uint8_t> to(static_cast<size_t>(destination) * size, 0xa5), expected = to;
    int64_t total = 1;
    for (const CopyDim& d : dims) total *= d.size;
    for (int64_t i = 0; i < total; ++i) {
      int64_t left = i, s = start, d = 0;
      for (size_t k = dims.size(); k-- > 0; left /= dims[k].size) {
        s += left % dims[k].size * dims[k].source;
        d += left % dims[k].size * dims[k].destination;
      }
      std::memcpy(&expected[static_cast<size_t>(d) * size], &from[static_cast<size_t>(s) * size], size);
    }
    for (Isa isa : supported_isas()) {
      const StridedCopy copy(size, dims.data(), rank, isa);
      std::fill(to.begin(), to.end(), 0xa5);
      copy.run(trial % 2 == 0 ? one : three, from.data() + static_cast<size_t>(start) * size, to.data());
      const std::string what = format_string("trial %d %s (%s)", trial, isa_name(isa), copy.kernel_name());
      expect_same_bytes(to.data(), expected.data(), to.size(), what.c_str(), __FILE__, __LINE__);
    }
  }
}

TEST(copy_onto_itself_is_nothing) {
  ThreadPool pool(1);
  const CopyDim dims[] = {{4, 10, 10}, {6, 1, 1}};
  float data[40];
  for (int i = 0; i < 40; ++i) data[i] = static_cast<float>(i);
  StridedCopy(sizeof(float), dims, 2, best_isa()).run(pool, data, data);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(data[i], static_cast<float>(i));
}

TEST(pad_source_is_periodic_and_inside) {
  for (int64_t size : {1, 2, 3, 7}) {
    for (int64_t i = -30; i < 30; ++i) {
      for (PadMode mode : {PadMode::kReflect, PadMode::kEdge, PadMode::kWrap}) {
        const int64_t at = pad_source(mode, i, size);
        EXPECT(at >= 0 && at < size);
        if (i >= 0 && i < size) EXPECT_EQ(at, i);
      }
      EXPECT_EQ(pad_source(PadMode::kWrap, i, size), pad_source(PadMode::kWrap, i + size, size));
      EXPECT_EQ(pad_source(PadMode::kReflect, i, size), pad_source(PadMode::kReflect, -i, size));
    }
  }
}

// Transpose, Concat-like rows and Expand with pitches on both sides through the operator.
TEST(transpose_with_pitches) {
  Random random(3);
  for (int trial = 0; trial < 200 && failures() < 5; ++trial) {
    const int rank = static_cast<int>(random.integer(1, 5));
    OpRun run;
    run.op = "Transpose";
    run.inputs.resize(1);
    std::vector<int64_t> perm;
    for (int i = 0; i < rank; ++i) {
      run.inputs[0].shape.push_back(random.integer(1, 9));
      perm.insert(perm.begin() + random.integer(0, i), i);
    }
    const Shape in = run.inputs[0].shape;
    run.attrs = {{"perm", perm}};
    run.inputs[0].values = random.floats(static_cast<size_t>(in.elements()));
    run.inputs[0].extra_pitch = random.integer(0, 1) * 5;
    run.extra_output_pitch = random.integer(0, 1) * 3;
    run.threads = trial % 2 + 1;
    EXPECT_OK(run.run());
    std::vector<float> expected;
    for (int64_t i = 0; i < in.elements(); ++i) {
      int64_t left = i, index[kMaxRank] = {}, offset = 0;
      for (int d = rank - 1; d >= 0; --d) {
        index[perm[static_cast<size_t>(d)]] = left % run.out_shape[d];
        left /= run.out_shape[d];
      }
      for (int d = 0; d < rank; ++d) offset = offset * in[d] + index[d];
      expected.push_back(run.inputs[0].values[static_cast<size_t>(offset)]);
    }
    expect_same_bytes(run.out.data(), expected.data(), expected.size(), in.to_string().c_str(), __FILE__,
                      __LINE__);
  }
}
