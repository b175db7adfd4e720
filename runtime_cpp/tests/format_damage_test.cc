// Damaged and hostile files: a clean error or a model that runs, never a crash. Worth most under
// AddressSanitizer and UndefinedBehaviorSanitizer (EDGEC_SANITIZE=address,undefined). Test names with a
// number refer to the list of attack cases at the end of docs/format.md.
#include <cstdlib>
#include <cstring>
#include <functional>

#include "core/session.h"
#include "format/model.h"
#include "harness.h"
#include "support/sample_models.h"

namespace edgec::test {
namespace {

// Small, so that no damaged dimension makes a test slow; the sample needs less than 16 KiB.
constexpr size_t kMemoryLimit = size_t{1} << 20;

Status load(const std::vector<uint8_t>& bytes, std::shared_ptr<const Model>* model, bool verify = false) {
  LoadOptions options;
  options.verify_weights = verify;
  return Model::from_memory(bytes.data(), bytes.size(), true, options, model);
}

// Load, prepare with a limit, run. What a user's program does with a file from somewhere.
Status exercise(const std::vector<uint8_t>& bytes, std::string* shapes = nullptr) {
  std::shared_ptr<const Model> model;
  EDGEC_TRY(load(bytes, &model));
  SessionOptions options;
  options.max_memory = kMemoryLimit;
  std::unique_ptr<Session> session;
  EDGEC_TRY(Session::create(model, options, &session));
  for (int i = 0; i < session->input_count(); ++i) {
    const size_t size = session->input_type(i).bytes();
    if (size > kMemoryLimit) return error(StatusCode::kOutOfMemory, "input of %zu bytes", size);
    void* data = session->input_data(i);
    if (data == nullptr) return error(StatusCode::kOutOfMemory, "no memory for the input");
    std::memset(data, 0, size);
  }
  EDGEC_TRY(session->run());
  if (shapes) {
    for (int i = 0; i < session->input_count(); ++i) *shapes += session->input_type(i).to_string();
    *shapes += " -> ";
    for (int i = 0; i < session->output_count(); ++i) *shapes += session->output_type(i).to_string();
  }
  return ok_status();
}

// Every way a field of the sealed sample may be damaged has to fail at load.
struct Damage {
  const char* field;
  uint64_t value;
};

void expect_refused(const EdgeBytes& valid, std::initializer_list<Damage> cases,
                    StatusCode code = StatusCode::kBadFile) {
  for (const Damage& damage : cases) {
    EdgeBytes file = valid;
    if (!file.set(damage.field, damage.value)) {
      fail(__FILE__, __LINE__, "the sample has no field %s", damage.field);
      continue;
    }
    if (file.bytes == valid.bytes)
      fail(__FILE__, __LINE__, "%s already is %" PRIu64, damage.field, damage.value);
    file.seal();
    std::shared_ptr<const Model> model;
    const Status status = load(file.bytes, &model);
    if (status.code() != code) {
      fail(__FILE__, __LINE__, "%s = 0x%" PRIX64 ": got %d \"%s\"", damage.field, damage.value,
           static_cast<int>(status.code()), status.message());
    }
  }
}

bool in_weights(const EdgeBytes& file, size_t offset) { return offset >= file.weights_offset(); }

TEST(sample_runs) {
  std::string shapes;
  EXPECT_OK(exercise(sample_model().write().bytes, &shapes));
  EXPECT_EQ(shapes, std::string("f32[1,4,4,2] -> f32[1,8]"));
}

TEST(attack_01_frame) {
  const EdgeBytes valid = sample_model().write();
  std::shared_ptr<const Model> model;
  EXPECT_ERROR(load({}, &model), StatusCode::kBadFile, "empty");
  for (size_t i = 0; i < 8; ++i) {
    EdgeBytes file = valid;
    file.bytes[i] ^= 0x20;
    EXPECT_ERROR(load(file.bytes, &model), StatusCode::kBadFile, "magic");
  }
  expect_refused(valid, {{"header.endian", 0x04030201}, {"header.endian", 0}});
  expect_refused(valid, {{"header.major", 0}, {"header.major", 2}, {"header.major", 0x100}},
                 StatusCode::kVersion);
}

TEST(attack_02_truncated_at_every_byte) {
  const EdgeBytes valid = sample_model().write();
  for (size_t size = 0; size < valid.size() && failures() < 5; ++size) {
    const std::vector<uint8_t> cut(valid.bytes.begin(),
                                   valid.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    std::shared_ptr<const Model> model;
    EXPECT_EQ(load(cut, &model).code(), StatusCode::kBadFile);
    // The same with a header that agrees: what a careful attacker sends.
    EdgeBytes sealed{cut, valid.fields};
    if (size < 64 + 3 * 32) continue;
    sealed.set("header.file_size", size);
    sealed.seal();
    EXPECT_EQ(load(sealed.bytes, &model).code(), StatusCode::kBadFile);
  }
}

TEST(attack_02_every_byte_flipped) {
  const EdgeBytes valid = sample_model().write();
  std::string expected;
  REQUIRE_OK(exercise(valid.bytes, &expected));
  for (size_t i = 0; i < valid.size() && failures() < 5; ++i) {
    for (uint8_t mask : {0x01, 0x80, 0xFF}) {
      std::vector<uint8_t> bytes = valid.bytes;
      bytes[i] ^= mask;
      std::string shapes;
      const Status status = exercise(bytes, &shapes);
      if (status.ok() && shapes != expected) {
        fail(__FILE__, __LINE__, "byte %zu ^ 0x%02X: loads as %s", i, mask, shapes.c_str());
      }
      // Checksums and the zero rule cover every byte outside the weights.
      if (status.ok() && !in_weights(valid, i))
        fail(__FILE__, __LINE__, "byte %zu ^ 0x%02X: not noticed", i, mask);
    }
  }
}

// Checksums made right again, so that every check behind them is reached.
TEST(attack_02_every_bit_flipped_and_sealed) {
  const EdgeBytes valid = sample_model().write();
  int loaded = 0;
  for (size_t i = 0; i < valid.weights_offset(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      EdgeBytes file = valid;
      file.bytes[i] ^= static_cast<uint8_t>(1u << bit);
      file.seal();
      loaded += exercise(file.bytes).ok();
    }
  }
  // Letters of names, versions of operators and the like: some flips give another valid model.
  EXPECT(loaded > 0);
  std::printf("  %d of %zu flips give a model that runs\n", loaded, valid.weights_offset() * 8);
}

TEST(attack_02_random_damage_and_sealed) {
  const EdgeBytes valid = sample_model().write();
  Random random;
  for (int round = 0; round < 20000; ++round) {
    EdgeBytes file = valid;
    for (int64_t n = random.integer(1, 3); n > 0; --n) {
      const EdgeBytes::Field& field =
          file.fields[static_cast<size_t>(random.integer(0, static_cast<int64_t>(file.fields.size()) - 1))];
      static constexpr uint64_t kInteresting[] = {0,
                                                  1,
                                                  2,
                                                  0x7F,
                                                  0x80,
                                                  0xFF,
                                                  0x7FFF,
                                                  0xFFFF,
                                                  0x7FFFFFFF,
                                                  0x80000000,
                                                  0xFFFFFFFF,
                                                  0x7FFFFFFFFFFFFFFF,
                                                  0x8000000000000000,
                                                  0xFFFFFFFFFFFFFFFF,
                                                  0x4000000000000000};
      const uint64_t value =
          random.integer(0, 1) ? kInteresting[random.integer(0, 14)] : random.next() >> random.integer(0, 63);
      std::memcpy(file.bytes.data() + field.offset, &value, std::min<size_t>(field.width, 8));
    }
    file.seal();
    (void)exercise(file.bytes);
  }
}

TEST(attack_02_tail_appended) {
  const EdgeBytes valid = sample_model().write();
  for (const char* tail : {"P", "PK\x05\x06",
                           "\x7F"
                           "ELF"}) {
    EdgeBytes file = valid;
    file.bytes.insert(file.bytes.end(), tail, tail + std::strlen(tail));
    std::shared_ptr<const Model> model;
    EXPECT_ERROR(load(file.bytes, &model), StatusCode::kBadFile, "foreign bytes");
    file.set("header.file_size", file.size());
    file.seal();
    EXPECT_ERROR(load(file.bytes, &model), StatusCode::kBadFile, "follow the last section");
  }
}

TEST(attack_03_lengths) {
  const EdgeBytes valid = sample_model().write();
  expect_refused(valid, {{"header.file_size", 0},
                         {"header.file_size", valid.size() + 1},
                         {"header.file_size", uint64_t{1} << 63},
                         {"header.file_size", UINT64_MAX},
                         {"header.sections", 0},
                         {"header.sections", 1},
                         {"header.sections", 4},
                         {"header.sections", 17},
                         {"header.sections", 0xFFFFFFFF},
                         {"header.reserved0", 1},
                         {"header.reserved3", uint64_t{1} << 63}});
}

TEST(attack_04_section_table) {
  const EdgeBytes valid = sample_model().write();
  expect_refused(valid, {{"section.GRPH.offset", 0},
                         {"section.GRPH.offset", 64},
                         {"section.GRPH.offset", UINT64_MAX - 63},
                         {"section.GRPH.size", UINT64_MAX},
                         {"section.GRPH.size", UINT64_MAX - 100},
                         {"section.GRPH.size", 0},
                         {"section.GRPH.size", valid.get("section.GRPH.size") - 1},
                         {"section.GRPH.size", valid.get("section.GRPH.size") + 64},
                         {"section.META.offset", valid.get("section.GRPH.offset")},
                         {"section.META.offset", valid.get("section.META.offset") + 1},
                         {"section.META.size", 3},
                         {"section.WGHT.offset", valid.get("section.WGHT.offset") - 64},
                         {"section.WGHT.size", valid.get("section.WGHT.size") + 1},
                         {"section.WGHT.size", 0},
                         {"section.WGHT.reserved", 1},
                         {"section.META.kind", 0x48505247},    // GRPH: a duplicate
                         {"section.WGHT.kind", 0x74686777}});  // "wght": WGHT is missing
  // Out of order: the entries of GRPH and META exchanged.
  EdgeBytes file = valid;
  std::swap_ranges(file.bytes.begin() + 64, file.bytes.begin() + 96, file.bytes.begin() + 96);
  file.seal();
  std::shared_ptr<const Model> model;
  EXPECT_ERROR(load(file.bytes, &model), StatusCode::kBadFile, "section table");
  // A gap that hides something.
  file = valid;
  file.bytes[file.weights_offset() - 1] = 1;
  file.seal();
  EXPECT_ERROR(load(file.bytes, &model), StatusCode::kBadFile, "not zero");
}

TEST(attack_05_alignment) {
  const EdgeBytes valid = sample_model().write();
  expect_refused(valid, {{"graph0.tensor1.offset", 3},
                         {"graph0.tensor1.offset", 32},
                         {"graph0.tensor1.offset", uint64_t{1} << 30},
                         {"graph0.tensor1.offset", uint64_t{1} << 63},
                         {"graph0.tensor1.offset", UINT64_MAX - 63},
                         {"graph0.tensor1.offset", UINT64_MAX}});
}

TEST(attack_06_checksums) {
  const EdgeBytes valid = sample_model().write();
  std::shared_ptr<const Model> model;
  for (const char* field : {"header.crc", "section.GRPH.crc", "section.META.crc", "section.WGHT.crc"}) {
    EdgeBytes file = valid;
    file.set(field, file.get(field) ^ 0x10);
    EXPECT_ERROR(load(file.bytes, &model), StatusCode::kBadFile, "checksum");
  }
}

TEST(attack_08_counts) {
  const EdgeBytes valid = sample_model().write();
  const std::string nothing;
  for (const char* field : {"operators",
                            "symbols",
                            "graphs",
                            "graph0.tensors",
                            "graph0.nodes",
                            "graph0.input.count",
                            "graph0.output.count",
                            "graph0.node0.input.count",
                            "graph0.node0.output.count",
                            "graph0.node0.attrs",
                            "graph0.node2.attrs",
                            "graph0.node2.attr0.count",
                            "meta.count",
                            "graph0.tensor4.scales",
                            "graph0.name.length",
                            "graph0.tensor0.name.length",
                            "graph0.node1.name.length",
                            "operator0.name.length",
                            "symbol0.name.length",
                            "meta0.value.length"}) {
    const uint64_t now = valid.get(field);
    for (uint64_t value :
         {uint64_t{0xFFFFFFFF}, uint64_t{0x80000000}, uint64_t{0x7FFFFFFF}, uint64_t{1} << 20, now + 1000}) {
      expect_refused(valid, {{field, value}});
    }
  }
  expect_refused(valid, {{"graphs", 0},
                         {"graphs", 2},
                         {"graph0.tensors", 0},
                         {"graph0.output.count", 0},
                         {"graph0.tensor4.scales", 0},
                         {"graph0.node0.output.count", 0}});
}

TEST(attack_09_indices) {
  const EdgeBytes valid = sample_model().write();
  for (uint64_t index :
       {uint64_t{7}, uint64_t{100}, uint64_t{0x7FFFFFFF}, uint64_t{0x80000000}, uint64_t{0xFFFFFFFE}}) {
    expect_refused(valid, {{"graph0.node0.input0", index},
                           {"graph0.node0.output0", index},
                           {"graph0.node0.op", index},
                           {"graph0.input0", index},
                           {"graph0.output0", index}});
  }
  // An input that is no input; a required input or output that is absent.
  expect_refused(valid, {{"graph0.input0", 1}});
  EdgeBytes file = valid;
  file.set("graph0.node0.input0", 0xFFFFFFFF);
  file.seal();
  EXPECT(!exercise(file.bytes).ok());
}

TEST(attack_10_attributes) {
  std::shared_ptr<const Model> model;
  const auto refused = [&](AttrList attrs, const char* part) {
    EdgeWriter w = sample_model();
    w.graphs[0].nodes[2].attrs = std::move(attrs);
    const Status status = load(w.write().bytes, &model);
    if (status.ok() || std::strstr(status.message(), part) == nullptr) {
      fail(__FILE__, __LINE__, "got \"%s\", expected a refusal with \"%s\"", status.message(), part);
    }
  };
  const std::vector<int64_t> two = {2, 2};
  refused({{"kernel", 2}}, "kernel");                           // wrong type
  refused({{"kernel", std::vector<double>{2, 2}}}, "kernel");   // wrong element type
  refused({{"strides", two}}, "kernel");                        // required one missing
  refused({{"kernel", two}, {"kernel", two}}, "twice");         // twice
  refused({{"kernel", two}, {"frobnicate", 1}}, "frobnicate");  // unknown
  refused({{"kernel", AttrValue::graph(1)}}, "sub-graph");      // a graph that does not exist
  refused({{"kernel", AttrValue::graph(0)}}, "sub-graph");      // recursion
  for (uint64_t type : {0, 7, 200})
    expect_refused(sample_model().write(), {{"graph0.node2.attr0.type", type}});
}

TEST(attack_11_strings) {
  std::shared_ptr<const Model> model;
  const auto named = [&](const std::string& name) {
    EdgeWriter w = sample_model();
    w.graphs[0].tensors[3].name = name;
    return load(w.write().bytes, &model);
  };
  EXPECT_OK(
      named("../../etc/passwd"));  // a name is text, not a path; edge_run --output maps it to a file name
  EXPECT_ERROR(named(std::string("a\0b", 3)), StatusCode::kBadFile, "NUL");
  EXPECT_ERROR(named("\xFF\xFE"), StatusCode::kBadFile, "UTF-8");
  EXPECT_ERROR(named("\x1B]0;title\x07"), StatusCode::kBadFile, "control");
  EXPECT_ERROR(named(""), StatusCode::kBadFile, "empty");
  EXPECT_ERROR(named("x"), StatusCode::kBadFile, "two tensors are called 'x'");
  EXPECT_OK(named(std::string(4096, 'n')));
  EXPECT_ERROR(named(std::string(4097, 'n')), StatusCode::kBadFile, "at most 4096");
}

TEST(attack_11_many_equal_names) {
  // Unique names whose hashes collide or not: the check stays fast and right with 100,000 of them.
  EdgeWriter w;
  uint32_t last = w.input("x", DType::kF32, {1});
  last = w.node("Identity", "y", {last});
  w.output(last);
  for (int i = 0; i < 100000; ++i) w.constant("constant" + std::to_string(i), DType::kF32, {0}, nullptr);
  std::shared_ptr<const Model> model;
  EXPECT_OK(load(w.write().bytes, &model));
  w.constant("constant77777", DType::kF32, {0}, nullptr);
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "constant77777");
}

TEST(attack_12_enumerations) {
  const EdgeBytes valid = sample_model().write();
  expect_refused(valid, {{"graph0.tensor0.kind", 3},
                         {"graph0.tensor0.kind", 255},
                         {"graph0.tensor0.flags", 2},
                         {"graph0.tensor0.flags", 0x80},
                         {"graph0.tensor0.dtype", 0},
                         {"graph0.tensor0.dtype", kDTypeCount},
                         {"graph0.tensor0.dtype", 255},
                         {"graph0.tensor0.rank", 9},
                         {"graph0.tensor0.rank", 255},
                         {"operator0.version", 0}});
  expect_refused(valid, {{"operator0.version", 0xFFFFFFFF}}, StatusCode::kVersion);
}

TEST(attack_13_graph_structure) {
  const EdgeBytes valid = sample_model().write();        // 0 x, 1 bias, 2 shape, 3 sum, 4 relu, 5 pool, 6 y
  expect_refused(valid, {{"graph0.node0.input0", 3},     // reads its own output
                         {"graph0.node0.input0", 6},     // a cycle
                         {"graph0.node1.output0", 3},    // written twice, 4 never
                         {"graph0.node1.output0", 0},    // writes an input
                         {"graph0.node1.output0", 1}});  // writes a constant
  // An output that no node writes.
  EdgeWriter w = sample_model();
  WriterTensor loose;
  loose.name = "loose";
  w.graphs[0].tensors.push_back(loose);
  std::shared_ptr<const Model> model;
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "no node writes it");
  // An input tensor that is not among the graph's inputs, and one that is listed twice.
  w = sample_model();
  w.graphs[0].inputs = {};
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "graph input count");
  w.graphs[0].inputs = {0, 0};
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "listed twice");
}

TEST(attack_14_shapes) {
  const EdgeBytes valid = sample_model().write();
  for (const char* field : {"graph0.tensor0.dim1", "graph0.tensor1.dim0"}) {
    for (uint64_t dim :
         {UINT64_MAX - 1, uint64_t{1} << 62, uint64_t{1} << 63, uint64_t{0x7FFFFFFFFFFFFFFF}}) {
      expect_refused(valid, {{field, dim}});
    }
  }
  expect_refused(valid, {{"graph0.tensor0.dim0", static_cast<uint64_t>(-2)},  // a symbol that does not exist
                         {"graph0.tensor1.dim0", static_cast<uint64_t>(-1)},  // a symbolic constant
                         {"graph0.tensor1.dim0", 0}});                        // not the size of its bytes
  // Zero elements times 2^62: no overflow hides behind the zero.
  EdgeWriter w = sample_model();
  w.graphs[0].tensors[0].dims = {0, int64_t{1} << 40, int64_t{1} << 40, 2};
  std::shared_ptr<const Model> model;
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "more bytes");
  // A large shape that is valid in itself loads, and is refused when memory is planned.
  w.graphs[0].tensors[0].dims = {-1, 1 << 20, 1 << 20, 2};
  EXPECT_OK(load(w.write().bytes, &model));
  EXPECT_ERROR(exercise(w.write().bytes), StatusCode::kOutOfMemory, "limit");
}

TEST(attack_15_weight_bytes) {
  const EdgeBytes valid = sample_model().write();
  expect_refused(valid, {{"graph0.tensor1.bytes", 7},
                         {"graph0.tensor1.bytes", 0},
                         {"graph0.tensor1.bytes", UINT64_MAX},
                         {"graph0.tensor1.dtype", static_cast<uint64_t>(DType::kF64)},
                         {"graph0.tensor1.dtype", static_cast<uint64_t>(DType::kI8)}});
  // Shared as a whole: fine, whatever the types. In part: refused.
  EdgeWriter w;
  const std::vector<float> values(32, 1.5f);
  const uint32_t a = w.constant("a", {32}, values);
  w.output(w.node("Identity", "y", {a}));
  WriterTensor alias = w.graphs[0].tensors[a];
  alias.name = "alias";
  alias.dtype = DType::kI32;
  w.graphs[0].tensors.push_back(alias);
  std::shared_ptr<const Model> model;
  EXPECT_OK(load(w.write().bytes, &model));
  w.graphs[0].tensors.back().dims = {16};
  w.graphs[0].tensors.back().weight_bytes = 64;
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "overlap");
  w.graphs[0].tensors.back().weight_offset = 64;
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "overlap");
}

TEST(attack_16_geometry) {
  const auto pool = [](std::vector<int64_t> kernel, std::vector<int64_t> strides, std::vector<int64_t> pads,
                       std::vector<int64_t> dilations) {
    EdgeWriter w;
    const uint32_t x = w.input("x", DType::kF32, {1, 4, 4, 2});
    w.output(w.node("MaxPool2d", "y", {x},
                    {{"kernel", kernel}, {"strides", strides}, {"pads", pads}, {"dilations", dilations}}));
    return exercise(w.write().bytes);
  };
  const std::vector<int64_t> one = {1, 1}, none = {0, 0, 0, 0};
  const int64_t huge = INT64_MAX;
  EXPECT_OK(pool({2, 2}, one, none, one));
  EXPECT(!pool({0, 0}, one, none, one).ok());
  EXPECT(!pool({-1, 2}, one, none, one).ok());
  EXPECT(!pool({5, 5}, one, none, one).ok());  // larger than the input
  EXPECT(!pool({2, 2}, {0, 1}, none, one).ok());
  EXPECT(!pool({2, 2}, {-1, 1}, none, one).ok());
  EXPECT(!pool({2, 2}, one, {-5, 0, 0, 0}, one).ok());
  EXPECT(!pool({2, 2}, one, {huge, 0, huge, 0}, one).ok());
  EXPECT(!pool({2, 2}, one, none, {0, 1}).ok());
  EXPECT(!pool({huge, huge}, one, none, {huge, huge}).ok());
  EXPECT(!pool({2}, one, none, one).ok());
  EXPECT(!pool({2, 2, 2}, one, none, one).ok());

  const auto convolution = [](int64_t group, std::vector<int64_t> strides, std::vector<int64_t> pads,
                              int64_t out_channels, int64_t in_channels) {
    EdgeWriter w;
    const uint32_t x = w.input("x", DType::kF32, {1, 4, 4, 2});
    const std::vector<float> weights(static_cast<size_t>(out_channels * in_channels), 1.0f);
    const uint32_t k = w.constant("k", {out_channels, 1, 1, in_channels}, weights);
    w.output(w.node("Conv2d", "y", {x, k}, {{"group", group}, {"strides", strides}, {"pads", pads}}));
    return exercise(w.write().bytes);
  };
  if (Registry::instance().find("Conv2d") == nullptr) return skip("no Conv2d in this build");
  EXPECT_OK(convolution(1, one, none, 3, 2));
  EXPECT(!convolution(0, one, none, 3, 2).ok());
  EXPECT(!convolution(-1, one, none, 3, 2).ok());
  EXPECT(!convolution(3, one, none, 3, 2).ok());
  EXPECT(!convolution(2, one, none, 3, 1).ok());  // 3 output channels in 2 groups
  EXPECT(!convolution(huge, one, none, 3, 2).ok());
  EXPECT(!convolution(1, {0, 0}, none, 3, 2).ok());
  EXPECT(!convolution(1, {huge, -huge}, none, 3, 2).ok());
  EXPECT(!convolution(1, one, {huge, huge, huge, huge}, 3, 2).ok());
  EXPECT(!convolution(1, one, {-9, 0, 0, 0}, 3, 2).ok());
  EXPECT(!convolution(1, one, none, 3, 5).ok());
}

TEST(attack_17_reshape) {
  const auto reshape = [](const std::vector<int64_t>& shape) {
    EdgeWriter w;
    const uint32_t x = w.input("x", DType::kF32, {2, 6});
    const uint32_t s = w.constant("s", shape);
    w.output(w.node("Reshape", "y", {x, s}));
    return exercise(w.write().bytes);
  };
  EXPECT_OK(reshape({3, -1}));
  EXPECT(!reshape({-1, -1}).ok());
  EXPECT(!reshape({5, -1}).ok());
  EXPECT(!reshape({-2, -6}).ok());
  EXPECT(!reshape({int64_t{1} << 32, int64_t{1} << 32}).ok());
  EXPECT(!reshape({int64_t{1} << 62, 16}).ok());
  EXPECT(!reshape({INT64_MIN}).ok());
  EXPECT(!reshape({1, 1, 1, 1, 1, 1, 1, 1, 12}).ok());  // rank 9
}

TEST(attack_18_symbols) {
  const EdgeBytes valid = sample_model().write();
  expect_refused(valid, {{"symbol0.min", UINT64_MAX},
                         {"symbol0.min", 65},
                         {"symbol0.max", UINT64_MAX},
                         {"symbol0.max", uint64_t{1} << 63}});
  std::shared_ptr<const Model> model;
  REQUIRE_OK(load(valid.bytes, &model));
  SessionOptions options;
  std::unique_ptr<Session> session;
  for (int64_t batch : {int64_t{0}, int64_t{-1}, int64_t{65}, INT64_MAX}) {
    options.input_shapes = {Shape({batch, 4, 4, 2})};
    EXPECT_EQ(Session::create(model, options, &session).code(), StatusCode::kShape);
  }
  options.input_shapes = {Shape({1, 4, 4})};
  EXPECT(!Session::create(model, options, &session).ok());
  options.input_shapes = {Shape({1, 4, 4, 2}), Shape({1})};
  EXPECT(!Session::create(model, options, &session).ok());
  options.input_shapes = {Shape({64, 4, 4, 2})};
  EXPECT_OK(Session::create(model, options, &session));
}

TEST(attack_19_quantization) {
  const auto bits = [](float f) {
    uint32_t u;
    std::memcpy(&u, &f, 4);
    return uint64_t{u};
  };
  const EdgeBytes valid = sample_model().write();
  expect_refused(valid, {{"graph0.tensor4.scale0", bits(0.0f)},
                         {"graph0.tensor4.scale0", bits(-0.5f)},
                         {"graph0.tensor4.scale0", bits(NAN)},
                         {"graph0.tensor4.scale0", bits(INFINITY)},
                         {"graph0.tensor4.scale0", bits(1e-40f)},  // denormal: its reciprocal is infinite
                         {"graph0.tensor4.zero_point0", 70000},
                         {"graph0.tensor4.zero_point0", 0x80000000},
                         {"graph0.tensor4.axis", 8},
                         {"graph0.tensor4.axis", 0xFFFFFFFE}});
  // Of constants the type is known: one scale per channel, zero points of the type.
  EdgeWriter w;
  const int8_t values[6] = {1, 2, 3, 4, 5, 6};
  const uint32_t c = w.constant("c", DType::kI8, {2, 3}, values);
  w.output(w.node("Identity", "y", {c}));
  WriterTensor& t = w.graphs[0].tensors[c];
  t.quantized = true;
  t.axis = 1;
  t.scale = {1, 2, 3};
  t.zero_point = {0, -128, 127};
  std::shared_ptr<const Model> model;
  EXPECT_OK(load(w.write().bytes, &model));
  expect_refused(w.write(), {{"graph0.tensor0.zero_point1", 128},
                             {"graph0.tensor0.zero_point2", 0xFFFFFF00},
                             {"graph0.tensor0.axis", 0},
                             {"graph0.tensor0.axis", 0xFFFFFFFF},
                             {"graph0.tensor0.axis", 2}});
}

TEST(attack_21_memory_limit) {
  std::shared_ptr<const Model> model;
  REQUIRE_OK(load(sample_model().write().bytes, &model));
  SessionOptions options;
  std::unique_ptr<Session> session;
  options.max_memory = 1;
  EXPECT_EQ(Session::create(model, options, &session).code(), StatusCode::kOutOfMemory);
  options.max_memory = kMemoryLimit;
  EXPECT_OK(Session::create(model, options, &session));
  // A tiny file that asks for much, in one tensor and in the sum of many.
  EdgeWriter w;
  uint32_t last = w.input("x", DType::kF32, {1});
  const uint32_t shape = w.constant("shape", {int64_t{1} << 40});
  last = w.node("Expand", "y", {last, shape});
  w.output(last);
  if (Registry::instance().find("Expand")) EXPECT(!exercise(w.write().bytes).ok());
}

TEST(sub_graph_indices) {
  // A second graph that nothing refers to is valid on its own; its tensors are checked like the main graph's.
  EdgeWriter w = sample_model();
  WriterGraph sub;
  sub.name = "sub";
  WriterTensor in;
  in.name = "a";
  in.kind = 2;
  in.dims = {1};
  sub.tensors.push_back(in);
  sub.inputs = {0};
  sub.outputs = {0};
  w.graphs.push_back(sub);
  std::shared_ptr<const Model> model;
  EXPECT_OK(load(w.write().bytes, &model));
  EXPECT_OK(exercise(w.write().bytes));
  w.graphs[1].outputs = {1};
  EXPECT_ERROR(load(w.write().bytes, &model), StatusCode::kBadFile, "sub-graph 1");
}

}  // namespace
}  // namespace edgec::test
