// Runs the sample model (tests/support/sample_models.h) through edgec.hpp.
#include <cstdio>
#include <edgec/edgec.hpp>

namespace {

int fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return fail("usage: consumer sample.edge");
  if (edgec::Model::open("/nowhere.edge")) return fail("opened a file that does not exist");
  auto model = edgec::Model::open(argv[1]);
  if (!model) return fail(model.error().message);
  if (model->input_count() != 1 || model->output_name(0) != "y") return fail("wrong model");
  if (!model->metadata("labels")) return fail("no labels");

  const auto options = edgec::SessionOptions().threads(2).input_shapes({{2, 4, 4, 2}});
  auto bytes = edgec::Session::required_bytes(*model, options);
  if (!bytes || *bytes == 0) return fail("required_bytes");
  auto session = edgec::Session::create(*model, options);
  if (!session) return fail(session.error().message);
  auto wrong = session->input<int8_t>("x");
  if (wrong || wrong.error().message.find("'x' is f32, asked for i8") == std::string::npos)
    return fail("wrong type");
  if (session->input<float>("z") || session->input<float>(1)) return fail("unknown input");

  auto x = session->input<float>("x");
  if (!x || x->size() != 2 * 4 * 4 * 2) return fail("input");
  for (float& v : *x) v = 1;
  if (auto done = session->run(); !done) return fail(done.error().message);
  auto y = session->output<float>(0);
  if (!y || y->size() != 16) return fail("output");
  // relu(1 + bias), bias = {0.5, -0.25}, and the maximum of equal values.
  for (size_t i = 0; i < y->size(); ++i) {
    if ((*y)[i] != (i % 2 ? 0.75f : 1.5f)) return fail("wrong value " + std::to_string((*y)[i]));
  }
  if (auto again = session->prepare({{1, 4, 4, 2}}); !again) return fail(again.error().message);
  if (session->output_info("y")->shape != edgec::Shape{1, 8}) return fail("shape");
  if (auto refused = session->prepare({{1, 4, 4, 3}}); refused) return fail("a wrong shape was accepted");
  edgec::Session moved = std::move(*session);
  return moved.stats()->arena_bytes > 0 ? 0 : 1;
}
