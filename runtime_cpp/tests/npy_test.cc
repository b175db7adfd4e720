// The .npy reader and writer of edge_run.
#include "tools/npy.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "harness.h"

namespace edgec::test {
namespace {

using tools::NpyArray;

std::vector<std::byte> file_of(const std::string& dict, size_t data_bytes, char version = 1) {
  std::string text("\x93NUMPY", 6);
  text += version;
  text += '\0';
  text += static_cast<char>(dict.size() & 0xFF);
  text += static_cast<char>(dict.size() >> 8);
  if (version > 1) text += std::string(2, '\0');
  text += dict + std::string(data_bytes, '\1');
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

Status parse(const std::vector<std::byte>& bytes, NpyArray* out) {
  return tools::parse_npy(bytes.data(), bytes.size(), out);
}

TEST(every_type_and_rank_returns) {
  for (int code = 1; code <= static_cast<int>(DType::kU64); ++code) {
    for (int rank = 0; rank <= kMaxRank; ++rank) {
      TensorType type;
      type.dtype = static_cast<DType>(code);
      for (int i = 0; i < rank; ++i) type.shape.push_back(i % 3 + 1);
      const std::string header = tools::npy_header(type);
      EXPECT_EQ(header.size() % 64, size_t{0});
      EXPECT_EQ(header.back(), '\n');
      std::vector<std::byte> bytes(header.size() + type.bytes(), std::byte{1});
      std::memcpy(bytes.data(), header.data(), header.size());
      NpyArray array;
      EXPECT_OK(parse(bytes, &array));
      EXPECT(array.dtype == type.dtype && array.shape == type.shape);
      EXPECT_EQ(array.data.size(), type.bytes());
    }
  }
}

TEST(versions_quotes_and_empty_arrays) {
  NpyArray array;
  for (char version : {1, 2, 3}) {
    EXPECT_OK(parse(
        file_of("{\"descr\": \"<i4\", \"fortran_order\": False, \"shape\": (2, 3)}\n", 24, version), &array));
    EXPECT(array.shape == Shape({2, 3}));
  }
  EXPECT_OK(parse(file_of("{'shape': (0, 5), 'fortran_order': False, 'descr': '<f8', }", 0), &array));
  EXPECT(array.shape == Shape({0, 5}) && array.data.empty());
}

TEST(what_cannot_be_used_is_named) {
  NpyArray array;
  const auto dict = [](const char* descr, const char* order, const char* shape) {
    return std::string("{'descr': ") + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  };
  EXPECT_ERROR(parse(file_of(dict("'<f4'", "True", "(2, 3)"), 24), &array), StatusCode::kUnsupported,
               "ascontiguousarray");
  EXPECT_ERROR(parse(file_of(dict("'>f4'", "False", "(2,)"), 8), &array), StatusCode::kUnsupported, "'>f4'");
  EXPECT_ERROR(parse(file_of(dict("'|O'", "False", "(2,)"), 16), &array), StatusCode::kUnsupported, "'|O'");
  EXPECT_ERROR(parse(file_of(dict("[('a', '<f4')]", "False", "(2,)"), 8), &array), StatusCode::kUnsupported,
               "structured");
  EXPECT_ERROR(parse(file_of(dict("'<f4'", "False", "(1,1,1,1,1,1,1,1,1)"), 4), &array),
               StatusCode::kUnsupported, "8 dimensions");
}

TEST(damage_is_refused) {
  NpyArray array;
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
  const std::vector<std::byte> valid = file_of(good, 24);
  REQUIRE_OK(parse(valid, &array));
  for (size_t size = 0; size < valid.size(); ++size) {
    const std::vector<std::byte> cut(valid.begin(), valid.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT(!parse(cut, &array).ok());
  }
  for (size_t i = 0; i < valid.size(); ++i) {
    for (int mask : {0x01, 0x20, 0x80, 0xFF}) {
      std::vector<std::byte> bytes = valid;
      bytes[i] ^= static_cast<std::byte>(mask);
      const Status status = parse(bytes, &array);
      if (status.ok()) EXPECT_EQ(array.data.size(), TensorType({array.dtype, array.shape, nullptr}).bytes());
    }
  }
  for (const char* shape : {"(9223372036854775807,)", "(4294967296, 4294967296)", "(99999999999999999999,)",
                            "(-1,)", "(2", "2"}) {
    EXPECT(
        !parse(file_of(std::string("{'descr': '<f4', 'fortran_order': False, 'shape': ") + shape + ", }", 24),
               &array)
             .ok());
  }
  EXPECT(
      !parse(file_of("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 24), &array)
           .ok());
  EXPECT(!parse(file_of("{'descr': '<f4', 'shape': (6,)}", 24), &array).ok());
}

TEST(files_are_written_whole) {
  char folder[] = "/tmp/edgec_npy_XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/y.npy";
  const float values[6] = {1, 2, 3, 4, 5, 6};
  const TensorType type{DType::kF32, Shape({2, 3}), nullptr};
  EXPECT_OK(tools::write_npy(path.c_str(), type, values));
  NpyArray array;
  EXPECT_OK(tools::read_npy(path.c_str(), &array));
  EXPECT(array.data.size() == sizeof(values) && std::memcmp(array.data.data(), values, sizeof(values)) == 0);
  EXPECT_EQ(::access((path + ".partial").c_str(), F_OK), -1);
  EXPECT_ERROR(tools::write_npy("/nowhere/y.npy", type, values), StatusCode::kIo, "/nowhere/y.npy");
  EXPECT_ERROR(tools::read_npy("/nowhere/y.npy", &array), StatusCode::kIo, "/nowhere/y.npy");
  std::remove(path.c_str());
  ::rmdir(folder);
}

}  // namespace
}  // namespace edgec::test
