// Loading: valid files, and what the reader says about those it refuses.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "format/crc32.h"
#include "format/cursor.h"
#include "format/model.h"
#include "harness.h"
#include "support/sample_models.h"

namespace edgec::test {
namespace {

Status load(const EdgeBytes& file, std::shared_ptr<const Model>* model, bool verify = false) {
  LoadOptions options;
  options.verify_weights = verify;
  return Model::from_memory(file.data(), file.size(), true, options, model);
}

// A file that disappears with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const void* data, size_t size) {
    std::snprintf(path_, sizeof(path_), "%s/edgec_test_XXXXXX",
                  std::getenv("TMPDIR") ? std::getenv("TMPDIR") : "/tmp");
    const int descriptor = ::mkstemp(path_);
    if (descriptor < 0 || ::write(descriptor, data, size) != static_cast<ssize_t>(size)) std::abort();
    ::close(descriptor);
  }
  ~TemporaryFile() { std::remove(path_); }
  const char* path() const { return path_; }

 private:
  char path_[512];
};

TEST(crc32_is_the_one_of_zlib) {
  EXPECT_EQ(crc32(0, "123456789", 9), 0xCBF43926u);  // the check value of CRC-32/ISO-HDLC
  EXPECT_EQ(crc32(0, "", 0), 0u);
  // Against the definition, bit by bit, for every length around the step of eight and every split.
  uint8_t data[41];
  Random random;
  for (uint8_t& b : data) b = static_cast<uint8_t>(random.next());
  for (size_t size = 0; size <= sizeof(data); ++size) {
    uint32_t expected = 0xFFFFFFFF;
    for (size_t i = 0; i < size; ++i) {
      expected ^= data[i];
      for (int bit = 0; bit < 8; ++bit) expected = (expected >> 1) ^ ((expected & 1) ? 0xEDB88320u : 0u);
    }
    expected = ~expected;
    EXPECT_EQ(crc32(0, data, size), expected);
    for (size_t split = 0; split <= size; ++split) {
      EXPECT_EQ(crc32(crc32(0, data, split), data + split, size - split), expected);
    }
  }
}

TEST(text_rules) {
  const auto defect = [](const std::string& s, Text rule) {
    return text_defect(s.data(), s.size(), rule) != nullptr;
  };
  EXPECT(!defect("conv1.weight", Text::kName));
  EXPECT(
      !defect("Gr\xC3\xB6\xC3\x9F"
              "e \xE4\xB8\xAD \xF0\x9F\x98\x80",
              Text::kName));
  EXPECT(!defect("two\nlines\t", Text::kValue));
  for (const char* bad : {"\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
                          "\x80", "\xC3", "\xE4\xB8", "\xF0\x9F\x98", "\xFF"}) {
    EXPECT(defect(bad, Text::kName));
    EXPECT(defect(bad, Text::kValue));
  }
  EXPECT(defect(std::string("a\0b", 3), Text::kValue));
  EXPECT(defect("\x1B[31mred", Text::kName));  // terminal escape
  EXPECT(
      defect("\xC2\x9B"
             "31mred",
             Text::kName));  // the same, as a C1 control character
  EXPECT(defect("a\nb", Text::kName));
  EXPECT(defect("a\x7F", Text::kName));
}

TEST(round_trip) {
  const EdgeBytes file = sample_model().write();
  std::shared_ptr<const Model> model;
  REQUIRE_OK(load(file, &model, true));
  EXPECT_EQ(model->format_major, 1);
  EXPECT_EQ(model->file_bytes, file.size());
  EXPECT_EQ(model->sections.size(), size_t{3});
  EXPECT_EQ(model->metadata.size(), size_t{2});
  EXPECT_EQ(model->metadata[1].second, std::string("cat\ndog"));
  REQUIRE(model->symbols.size() == 1);
  EXPECT_EQ(model->symbols[0].name, std::string("batch"));
  EXPECT_EQ(model->symbols[0].max, int64_t{64});
  const Graph& graph = model->graph();
  EXPECT_EQ(graph.name, std::string("main"));
  REQUIRE(graph.tensors.size() == 7 && graph.nodes.size() == 4);
  EXPECT_EQ(graph.inputs.size(), size_t{1});
  EXPECT_EQ(graph.outputs[0], 6);
  const TensorInfo& x = graph.tensors[0];
  EXPECT(x.kind == TensorKind::kInput && x.dtype == DType::kF32);
  EXPECT(x.shape == Shape({-1, 4, 4, 2}));
  const TensorInfo& bias = graph.tensors[1];
  EXPECT(bias.kind == TensorKind::kConstant && bias.bytes == 8);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bias.data) % 64, uintptr_t{0});
  EXPECT_EQ(load_little_endian<float>(bias.data + 4), -0.25f);
  const TensorInfo& relu = graph.tensors[4];
  REQUIRE(relu.quantized && relu.quantization.scale.size() == 1);
  EXPECT_EQ(relu.quantization.zero_point[0], -3);
  EXPECT_EQ(graph.nodes[2].op->name, std::string("MaxPool2d"));
  EXPECT(graph.nodes[2].attrs[0].second.ints == (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(graph.nodes[3].inputs[1], 2);
}

TEST(mapped_file_equals_memory) {
  const EdgeBytes file = sample_model().write();
  TemporaryFile disk(file.data(), file.size());
  std::shared_ptr<const Model> mapped;
  REQUIRE_OK(Model::open(disk.path(), LoadOptions{}, &mapped));
  const TensorInfo& bias = mapped->graph().tensors[1];
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bias.data) % 64, uintptr_t{0});
  EXPECT_EQ(load_little_endian<float>(bias.data), 0.5f);
  // Dropped pages come back from the file, whatever range is asked for.
  mapped->drop_pages(bias.data, bias.bytes);
  mapped->drop_pages(bias.data, SIZE_MAX);
  mapped->drop_pages(nullptr, 4096);
  EXPECT_EQ(load_little_endian<float>(bias.data), 0.5f);
}

TEST(drop_pages_keeps_values) {
  EdgeWriter w;
  std::vector<float> values(5000);  // several pages, the last one in part
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const uint32_t a = w.constant("a", {static_cast<int64_t>(values.size())}, values);
  w.output(w.node("Identity", "y", {a}));
  const EdgeBytes file = w.write();
  TemporaryFile disk(file.data(), file.size());
  std::shared_ptr<const Model> model;
  REQUIRE_OK(Model::open(disk.path(), LoadOptions{}, &model));
  const TensorInfo& tensor = model->graph().tensors[0];
  model->drop_pages(tensor.data, tensor.bytes);
  EXPECT(std::memcmp(tensor.data, values.data(), tensor.bytes) == 0);
}

TEST(borrowed_memory_needs_alignment) {
  const EdgeBytes file = sample_model().write();
  std::vector<uint8_t> room(file.size() + 128);
  uint8_t* aligned = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64;
  std::memcpy(aligned, file.data(), file.size());
  std::shared_ptr<const Model> model;
  REQUIRE_OK(Model::from_memory(aligned, file.size(), false, LoadOptions{}, &model));
  EXPECT(model->graph().tensors[1].data ==
         reinterpret_cast<const std::byte*>(aligned) + file.weights_offset());
  std::memmove(aligned + 8, aligned, file.size());
  EXPECT_ERROR(Model::from_memory(aligned + 8, file.size(), false, LoadOptions{}, &model),
               StatusCode::kInvalidArgument, "aligned to 64");
  EXPECT_OK(Model::from_memory(aligned + 8, file.size(), true, LoadOptions{}, &model));
  EXPECT_ERROR(Model::from_memory(nullptr, 10, true, LoadOptions{}, &model), StatusCode::kInvalidArgument,
               "null");
}

TEST(size_limit) {
  const EdgeBytes file = sample_model().write();
  std::shared_ptr<const Model> model;
  LoadOptions options;
  options.max_file_size = file.size();
  EXPECT_OK(Model::from_memory(file.data(), file.size(), true, options, &model));
  options.max_file_size = file.size() - 1;
  EXPECT_ERROR(Model::from_memory(file.data(), file.size(), true, options, &model), StatusCode::kBadFile,
               "max_file_size");
  TemporaryFile disk(file.data(), file.size());
  EXPECT_ERROR(Model::open(disk.path(), options, &model), StatusCode::kBadFile, disk.path());
}

TEST(paths_that_are_no_files) {
  std::shared_ptr<const Model> model;
  EXPECT_ERROR(Model::open("/nowhere/net.edge", LoadOptions{}, &model), StatusCode::kIo, "/nowhere/net.edge");
  EXPECT_ERROR(Model::open("/tmp", LoadOptions{}, &model), StatusCode::kIo, "regular file");
  EXPECT_ERROR(Model::open("/dev/null", LoadOptions{}, &model), StatusCode::kIo, "regular file");
  char path[] = "/tmp/edgec_fifo_XXXXXX";
  const int descriptor = ::mkstemp(path);
  ::close(descriptor);
  std::remove(path);
  REQUIRE(::mkfifo(path, 0600) == 0);
  EXPECT_ERROR(Model::open(path, LoadOptions{}, &model), StatusCode::kIo, "regular file");
  std::remove(path);
  EXPECT(model == nullptr);
}

TEST(foreign_files_are_recognised) {
  const auto message = [](const std::string& bytes, const char* part) {
    std::shared_ptr<const Model> model;
    EXPECT_ERROR(Model::from_memory(bytes.data(), bytes.size(), true, LoadOptions{}, &model),
                 StatusCode::kBadFile, part);
  };
  message("", "empty");
  message("PK\x03\x04rest", "PyTorch");
  message(std::string("\x08\x07\x12\x07pytorch"), "ONNX");
  message(std::string("\x1C\0\0\0TFL3....", 12), "TFLite");
  message("\x89HDF\r\n\x1A\n", "HDF5");
  message("\x80\x02}q", "pickle");
  message("\x1F\x8B\x08", "gzip");
  message("version https://git-lfs.github.com/spec/v1", "git lfs pull");
  message(
      "\x89"
      "EDGE\n\x1A",
      "text-mode");
  message("hello", "no .edge file");
}

TEST(versions_say_what_is_needed) {
  std::shared_ptr<const Model> model;
  EdgeBytes file = sample_model().write();
  file.set("header.major", 2);
  EXPECT_ERROR(load(file, &model), StatusCode::kVersion, "format 2.0");
  file.set("header.major", 1);
  file.set("header.minor", 7);  // nothing unknown inside: has to load
  file.seal();
  EXPECT_OK(load(file, &model));
  EXPECT_EQ(model->format_minor, 7);

  file = sample_model().write();
  file.set("operator1.version", 1000);
  file.seal();
  EXPECT_ERROR(load(file, &model), StatusCode::kVersion, "Relu version 1000");
  EXPECT_ERROR(load(file, &model), StatusCode::kVersion, "edgec 9.9.9");
}

TEST(unknown_operators_are_listed) {
  EdgeWriter w = sample_model();
  w.operators[0].first = "FrobnicateSum";
  w.operators[2].first = "TwistPool";
  std::shared_ptr<const Model> model;
  const EdgeBytes file = w.write();
  EXPECT_ERROR(load(file, &model), StatusCode::kUnsupported, "FrobnicateSum, TwistPool");
  EXPECT_ERROR(load(file, &model), StatusCode::kUnsupported, "lacks 2 of the 4");
}

TEST(errors_name_offset_and_field) {
  EdgeBytes file = sample_model().write();
  const size_t offset = file.find("graph0.tensor0.dtype")->offset;
  file.set("graph0.tensor0.dtype", 99);
  file.seal();
  std::shared_ptr<const Model> model;
  const std::string place = "tensor 0 'x': GRPH offset " + std::to_string(offset) + ", dtype";
  EXPECT_ERROR(load(file, &model), StatusCode::kBadFile, place.c_str());
}

TEST(optional_sections) {
  EdgeWriter w = sample_model();
  w.extra.push_back({"note", {1, 2, 3}});
  std::shared_ptr<const Model> model;
  EXPECT_OK(load(w.write(), &model));
  w.extra[0].kind = "NOTE";
  EXPECT_ERROR(load(w.write(), &model), StatusCode::kVersion, "NOTE");
  w.extra[0].kind = "SIGN";
  EXPECT_ERROR(load(w.write(), &model), StatusCode::kSignature, "signed");
  w.extra[0].kind = "\x01\x02\x03\x04";
  EXPECT_ERROR(load(w.write(), &model), StatusCode::kBadFile, "section kind");
}

TEST(golden_samples) {
  EdgeWriter w = sample_model();
  std::vector<uint8_t> gold;
  const auto u32 = [&](uint32_t v) {
    gold.insert(gold.end(), {uint8_t(v), uint8_t(v >> 8), uint8_t(v >> 16), uint8_t(v >> 24)});
  };
  const auto u64 = [&](uint64_t v) { u32(static_cast<uint32_t>(v)), u32(static_cast<uint32_t>(v >> 32)); };
  const auto tensor = [&](char name, uint64_t bytes) {
    u32(1), gold.push_back(static_cast<uint8_t>(name)), gold.push_back(1), gold.push_back(1);
    u64(2), u64(bytes);
    for (int i = 0; i < 8; ++i) gold.push_back(static_cast<uint8_t>(i));
  };
  u32(1);
  u32(1), tensor('x', 8);
  u32(1), tensor('y', 8);
  u32(1), u32(1), gold.push_back('y'), u64(0x1122334455667788);
  w.extra.push_back({"GOLD", gold});
  std::shared_ptr<const Model> model;
  REQUIRE_OK(load(w.write(), &model));
  REQUIRE(model->golden.size() == 1 && model->golden[0].outputs.size() == 1);
  EXPECT_EQ(model->golden[0].outputs[0].name, std::string("y"));
  EXPECT_EQ(static_cast<int>(model->golden[0].outputs[0].data[7]), 7);
  EXPECT_EQ(model->golden[0].digests[0].second, uint64_t{0x1122334455667788});
  // Cut at every byte: the section is what remains, checksums are right.
  for (size_t size = 0; size < gold.size(); ++size) {
    w.extra[0].bytes.assign(gold.begin(), gold.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT(load(w.write(), &model).code() == StatusCode::kBadFile);
  }
}

TEST(weights_are_verified_on_request) {
  EdgeBytes file = sample_model().write();
  file.bytes[file.weights_offset()] ^= 1;
  std::shared_ptr<const Model> model;
  EXPECT_OK(load(file, &model));
  EXPECT_ERROR(load(file, &model, true), StatusCode::kBadFile, "WGHT");
  file = sample_model().write();
  file.bytes[file.weights_offset() + 20] = 1;  // between the two constants
  file.seal();
  EXPECT_OK(load(file, &model));
  EXPECT_ERROR(load(file, &model, true), StatusCode::kBadFile, "byte 20 belongs to no constant");
}

// Not an assertion on time: prints what docs/format.md promises (under 1 ms per 1,000 operators).
TEST(load_time_of_1000_operators) {
  EdgeWriter w;
  uint32_t last = w.input("x", DType::kF32, {1, 8});
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "features.stage" + std::to_string(i / 10) + ".block" + std::to_string(i);
    const uint32_t c = w.constant(name + ".weight", {8}, std::vector<float>(8, 1.0f));
    last = w.node("Add", name + ".output", {last, c});
  }
  w.output(last);
  const EdgeBytes file = w.write();
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    std::shared_ptr<const Model> model;
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE_OK(load(file, &model));
    const auto end = std::chrono::steady_clock::now();
    best = std::min(best, std::chrono::duration<double, std::milli>(end - begin).count());
  }
  std::printf("  1,000 operators load in %.3f ms\n", best);
}

}  // namespace
}  // namespace edgec::test
