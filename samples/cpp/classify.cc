// Classifies a drawn digit with the C++ interface: classify digits.edge 7.txt
#include <algorithm>
#include <cstdio>
#include <edgec/edgec.hpp>

#include "digit_image.h"

namespace {
int fail(const edgec::Error& error) {
  std::fprintf(stderr, "classify: %s\n", error.message.c_str());
  return 1;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: classify MODEL.edge DIGIT.txt\n");
    return 2;
  }
  auto model = edgec::Model::open(argv[1]);
  if (!model) return fail(model.error());
  auto session = edgec::Session::create(*model, edgec::SessionOptions().threads(1));
  if (!session) return fail(session.error());

  auto pixels = session->input<float>(0);
  if (!pixels) return fail(pixels.error());
  if (pixels->size() != 64 || !read_digit_image(argv[2], pixels->data())) {
    std::fprintf(stderr, "classify: %s is no 8x8 picture, or the model takes other input\n", argv[2]);
    return 1;
  }
  if (auto done = session->run(); !done) return fail(done.error());
  auto scores = session->output<float>(0);
  if (!scores) return fail(scores.error());

  const float* best = std::max_element(scores->begin(), scores->end());
  std::printf("digit %d (logit %.2f)\n", static_cast<int>(best - scores->begin()), *best);
  return 0;
}
