// load -> prepare -> run as users see it: sharing, determinism, memory. What the kernels compute is tested
// beside the kernels.
#include "core/session.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <thread>

#include "harness.h"
#include "support/sample_models.h"

// Counts every allocation of the process: through glibc's own names, or through the hooks of a sanitizer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EDGEC_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define EDGEC_SANITIZED 1
#endif
#endif

static std::atomic<long> allocations{0};

#if defined(EDGEC_SANITIZED)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                         void (*)(const volatile void*));
static const int hooks_installed = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, size_t) { ++allocations; }, [](const volatile void*) {});
#elif defined(__GLIBC__)
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void* malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  ++allocations;
  return __libc_realloc(old, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  ++allocations;
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : ENOMEM;
}
}
#else
// musl and others: only what goes through operator new.
void* operator new(size_t size) {
  ++allocations;
  void* p = std::malloc(size ? size : 1);
  if (p == nullptr) std::abort();
  return p;
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
#endif

namespace edgec::test {
namespace {

std::shared_ptr<const Model> load(const EdgeWriter& writer) {
  const EdgeBytes file = writer.write();
  std::shared_ptr<const Model> model;
  EXPECT_OK(Model::from_memory(file.data(), file.size(), true, LoadOptions{}, &model));
  return model;
}

// Convolutions (plain, depthwise, pointwise), residual, pooling, product, softmax: enough work that two
// threads really share it.
EdgeWriter network() {
  EdgeWriter w;
  Random random(1);
  w.symbols.push_back({"batch", 1, 8});
  const uint32_t x = w.input("x", DType::kF32, {-1, 24, 20, 8});
  const auto weights = [&](const std::string& name, std::vector<int64_t> dims) {
    size_t count = 1;
    for (int64_t d : dims) count *= static_cast<size_t>(d);
    return w.constant(name, std::move(dims), random.floats(count, -0.3f, 0.3f));
  };
  const std::vector<int64_t> same = {1, 1, 1, 1};
  uint32_t a = w.node("Conv2d", "conv", {x, weights("w1", {32, 3, 3, 8}), weights("b1", {32})},
                      {{"pads", same}, {"activation", "relu"}});
  uint32_t b =
      w.node("Conv2d", "depthwise", {a, weights("w2", {32, 3, 3, 1})}, {{"pads", same}, {"group", 32}});
  b = w.node("Conv2d", "pointwise", {b, weights("w3", {32, 1, 1, 32})});
  a = w.node("Add", "residual", {a, b});
  a = w.node("MaxPool2d", "pool", {a},
             {{"kernel", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  a = w.node("ReduceMean", "mean", {a}, {{"axes", std::vector<int64_t>{1, 2}}, {"keepdims", 0}});
  a = w.node("MatMul", "product", {a, weights("w4", {32, 10})});
  w.output(w.node("Softmax", "y", {a}));
  w.output(b);
  return w;
}

bool operators_exist(const EdgeWriter& w) {
  for (const auto& [name, version] : w.operators) {
    if (Registry::instance().find(name) == nullptr) {
      skip("no operator %s in this build", name.c_str());
      return false;
    }
  }
  return true;
}

std::unique_ptr<Session> session_of(std::shared_ptr<const Model> model, int threads, int64_t batch) {
  SessionOptions options;
  options.threads = threads;
  options.input_shapes = {Shape({batch, 24, 20, 8})};
  std::unique_ptr<Session> session;
  EXPECT_OK(Session::create(std::move(model), options, &session));
  return session;
}

void fill(Session& session, uint64_t stream) {
  Random random(stream);
  float* x = static_cast<float*>(session.input_data(0));
  const int64_t count = session.input_type(0).shape.elements();
  for (int64_t i = 0; i < count; ++i) x[i] = random.uniform();
}

std::vector<float> outputs_of(Session& session) {
  std::vector<float> all;
  for (int i = 0; i < session.output_count(); ++i) {
    const float* y = static_cast<const float*>(session.output_data(i));
    all.insert(all.end(), y, y + session.output_type(i).shape.elements());
  }
  return all;
}

TEST(sessions_share_a_model) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  std::shared_ptr<const Model> model = load(writer);
  REQUIRE(model != nullptr);
  auto first = session_of(model, 1, 1);
  auto second = session_of(model, 1, 3);
  model.reset();  // the sessions keep it
  REQUIRE(first && second);
  fill(*first, 7);
  fill(*second, 8);
  REQUIRE_OK(first->run());
  REQUIRE_OK(second->run());
  const std::vector<float> alone = outputs_of(*first), other = outputs_of(*second);
  // At the same time, many times: neither disturbs the other.
  Status statuses[2];
  std::thread thread([&] {
    for (int i = 0; i < 50 && statuses[1].ok(); ++i) statuses[1] = second->run();
  });
  for (int i = 0; i < 50 && statuses[0].ok(); ++i) statuses[0] = first->run();
  thread.join();
  EXPECT_OK(statuses[0]);
  EXPECT_OK(statuses[1]);
  const std::vector<float> after = outputs_of(*first), other_after = outputs_of(*second);
  EXPECT_SAME(after.data(), alone.data(), alone.size());
  EXPECT_SAME(other_after.data(), other.data(), other.size());
}

TEST(threads_do_not_change_a_bit) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  const std::shared_ptr<const Model> model = load(writer);
  for (int64_t batch : {1, 2, 5}) {
    std::vector<float> expected;
    for (int threads : {1, 2, 3, 4, 0}) {
      auto session = session_of(model, threads, batch);
      REQUIRE(session != nullptr);
      fill(*session, 11);
      REQUIRE_OK(session->run());
      const std::vector<float> got = outputs_of(*session);
      if (threads == 1) expected = got;
      REQUIRE(got.size() == expected.size());
      EXPECT_SAME(got.data(), expected.data(), got.size());
    }
  }
}

TEST(counter_counts) {
  const long before = allocations;
  void* (*volatile allocate)(size_t) = [](size_t n) {
    return ::operator new(n);
  };  // not to be optimised away
  ::operator delete(allocate(100));
  EXPECT_EQ(allocations.load() - before, 1L);
#if defined(EDGEC_SANITIZED) || defined(__GLIBC__)
  void* (*volatile allocate_c)(size_t) = std::malloc;
  std::free(allocate_c(100));
  EXPECT_EQ(allocations.load() - before, 2L);
#endif
}

TEST(second_run_allocates_nothing) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  for (int threads : {1, 2}) {
    auto session = session_of(load(writer), threads, 2);
    REQUIRE(session != nullptr);
    fill(*session, 3);
    REQUIRE_OK(session->run());
    const long before = allocations;
    for (int i = 0; i < 10; ++i) REQUIRE_OK(session->run());
    EXPECT_EQ(allocations.load() - before, 0L);
    // The same shapes again: nothing to plan.
    const std::vector<Shape> shapes = {session->input_type(0).shape};
    const long before_prepare = allocations;
    REQUIRE_OK(session->prepare(shapes));
    EXPECT_EQ(allocations.load() - before_prepare, 0L);
  }
}

TEST(binding_is_zero_copy) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  const std::shared_ptr<const Model> model = load(writer);
  auto own = session_of(model, 1, 2), bound = session_of(model, 2, 2);
  REQUIRE(own && bound);
  fill(*own, 5);
  REQUIRE_OK(own->run());
  const std::vector<float> expected = outputs_of(*own);
  Random random(5);
  const std::vector<float> x = random.floats(static_cast<size_t>(own->input_type(0).shape.elements()));
  std::vector<float> y(20), features(expected.size() - 20);
  REQUIRE_OK(bound->bind_input(0, x.data(), x.size() * 4));
  REQUIRE_OK(bound->bind_output(0, y.data(), y.size() * 4));
  REQUIRE_OK(bound->bind_output(1, features.data(), features.size() * 4));
  const std::vector<float> x_before = x;
  REQUIRE_OK(bound->run());
  EXPECT_SAME(y.data(), expected.data(), y.size());
  EXPECT_SAME(features.data(), expected.data() + 20, features.size());
  EXPECT_SAME(x.data(), x_before.data(), x.size());
  EXPECT(bound->output_data(0) == y.data());
  // Back to own memory.
  fill(*bound, 6);
  REQUIRE_OK(bound->run());
  EXPECT_SAME(x.data(), x_before.data(), x.size());
}

TEST(shapes_change_and_return) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  const std::shared_ptr<const Model> model = load(writer);
  auto session = session_of(model, 1, 1);
  REQUIRE(session != nullptr);
  std::vector<std::vector<float>> first;
  for (int round = 0; round < 2; ++round) {
    for (int64_t batch = 1; batch <= 8; ++batch) {  // more shapes than a session remembers
      REQUIRE_OK(session->prepare({Shape({batch, 24, 20, 8})}));
      EXPECT_EQ(session->output_type(0).shape[0], batch);
      fill(*session, static_cast<uint64_t>(batch));
      REQUIRE_OK(session->run());
      const std::vector<float> got = outputs_of(*session);
      if (round == 0) {
        first.push_back(got);
      } else {
        const std::vector<float>& expected = first[static_cast<size_t>(batch) - 1];
        REQUIRE(got.size() == expected.size());
        EXPECT_SAME(got.data(), expected.data(), got.size());
      }
    }
  }
  EXPECT_EQ(session->prepare({Shape({9, 24, 20, 8})}).code(), StatusCode::kShape);
  EXPECT_EQ(session->prepare({Shape({1, 24, 20, 7})}).code(), StatusCode::kShape);
  EXPECT_EQ(session->input_type(0).shape[0], int64_t{8});  // as before the refusals
  EXPECT_OK(session->run());
}

TEST(run_without_input_is_refused) {
  const std::shared_ptr<const Model> model = load(sample_model());
  std::unique_ptr<Session> session;
  REQUIRE_OK(Session::create(model, SessionOptions{}, &session));
  EXPECT_ERROR(session->run(), StatusCode::kInvalidArgument, "'x'");
}

TEST(memory_limit_is_exact) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  const std::shared_ptr<const Model> model = load(writer);
  auto session = session_of(model, 1, 2);
  REQUIRE(session != nullptr);
  const PlanStats& stats = session->stats();
  EXPECT(stats.activation_peak > 0 && stats.arena_bytes >= stats.activation_peak);
  const size_t needed = stats.arena_bytes + stats.packed_bytes + stats.folded_bytes;
  SessionOptions options;
  options.input_shapes = {Shape({2, 24, 20, 8})};
  std::unique_ptr<Session> limited;
  options.max_memory = needed;
  EXPECT_OK(Session::create(model, options, &limited));
  options.max_memory = needed - 1;
  EXPECT_EQ(Session::create(model, options, &limited).code(), StatusCode::kOutOfMemory);
}

TEST(graph_outputs_of_every_kind) {
  // An input, a constant, one tensor twice, and a view of an input as outputs.
  EdgeWriter w;
  const uint32_t x = w.input("x", DType::kF32, {2, 3});
  const uint32_t c = w.constant("c", {2}, {4.0f, 5.0f});
  const uint32_t s = w.constant("s", {3, 2});
  const uint32_t r = w.node("Reshape", "r", {x, s});
  const uint32_t y = w.node("Relu", "y", {r});
  for (uint32_t t : {x, c, r, y, y}) w.output(t);
  const std::shared_ptr<const Model> model = load(w);
  REQUIRE(model != nullptr);
  std::unique_ptr<Session> session;
  REQUIRE_OK(Session::create(model, SessionOptions{}, &session));
  const float values[6] = {1, -2, 3, -4, 5, -6}, relu[6] = {1, 0, 3, 0, 5, 0};
  const float constant[2] = {4, 5};
  REQUIRE_OK(session->bind_input(0, values, sizeof(values)));
  REQUIRE_OK(session->run());
  EXPECT_SAME(static_cast<const float*>(session->output_data(0)), values, 6);
  EXPECT_SAME(static_cast<const float*>(session->output_data(1)), constant, 2);
  EXPECT_SAME(static_cast<const float*>(session->output_data(2)), values, 6);
  EXPECT_SAME(static_cast<const float*>(session->output_data(3)), relu, 6);
  EXPECT_SAME(static_cast<const float*>(session->output_data(4)), relu, 6);
  EXPECT(session->output_type(2).shape == Shape({3, 2}));
}

TEST(empty_tensors_run) {
  EdgeWriter w;
  w.symbols.push_back({"n", 1, 0});
  const uint32_t x = w.input("x", DType::kF32, {0, 3});
  w.output(w.node("Relu", "y", {x}));
  const std::shared_ptr<const Model> model = load(w);
  REQUIRE(model != nullptr);
  std::unique_ptr<Session> session;
  REQUIRE_OK(Session::create(model, SessionOptions{}, &session));
  REQUIRE_OK(session->bind_input(0, nullptr, 0));
  EXPECT_OK(session->run());
  EXPECT_EQ(session->output_type(0).bytes(), size_t{0});
}

TEST(cancel_ends_a_run) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  auto session = session_of(load(writer), 2, 8);
  REQUIRE(session != nullptr);
  fill(*session, 1);
  std::atomic<bool> stop{false};
  std::thread canceller([&] {
    while (!stop) session->cancel();
  });
  // A cancel may fall between two runs, where it does nothing; one of many runs meets it.
  int cancelled = 0;
  for (int i = 0; i < 2000 && cancelled == 0; ++i) {
    const Status status = session->run();
    EXPECT(status.ok() || status.code() == StatusCode::kCancelled);
    cancelled += status.code() == StatusCode::kCancelled;
  }
  stop = true;
  canceller.join();
  EXPECT(cancelled > 0);
  EXPECT_OK(session->run());
}

TEST(isas_agree) {
  const EdgeWriter writer = network();
  if (!operators_exist(writer)) return;
  const std::shared_ptr<const Model> model = load(writer);
  std::vector<float> expected;
  for (int i = 0; i < kIsaCount; ++i) {
    SessionOptions options;
    options.isa = static_cast<Isa>(i);
    std::unique_ptr<Session> session;
    const Status status = Session::create(model, options, &session);
    if (!isa_supported(options.isa)) {
      EXPECT_EQ(status.code(), StatusCode::kUnsupported);
      continue;
    }
    REQUIRE_OK(status);
    fill(*session, 2);
    REQUIRE_OK(session->run());
    const std::vector<float> got = outputs_of(*session);
    if (expected.empty()) expected = got;
    REQUIRE(got.size() == expected.size());
    // Sums of up to 3*3*8, 9, and 32 products one after the other, in whatever order an ISA adds them;
    // weights are at most 0.3, biases included, activations of each layer at most the sum of its weights
    // times those before.
    const double layers[] = {73 * 0.3, 9 * 0.3, 32 * 0.3};
    double magnitude = 1, bound = 0;
    for (double gain : layers) magnitude *= gain;
    bound = (73 + 9 + 32 + 3) * std::ldexp(1.0, -24) * magnitude * 2;
    EXPECT_CLOSE(got.data(), expected.data(), got.size(), bound);
  }
}

}  // namespace
}  // namespace edgec::test
