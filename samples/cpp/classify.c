/* Classifies a drawn digit with the C interface: classify_c digits.edge 7.txt */
#include <edgec/edgec.h>
#include <stdio.h>

#include "digit_image.h"

static int fail(const char *what) {
  fprintf(stderr, "classify_c: %s: %s\n", what, edgec_last_error());
  return 1;
}

int main(int argc, char **argv) {
  edgec_model *model = NULL;
  edgec_session *session = NULL;
  void *input;
  const void *output;
  const float *scores;
  size_t bytes, i, best = 0;

  if (argc != 3) {
    fprintf(stderr, "usage: classify_c MODEL.edge DIGIT.txt\n");
    return 2;
  }
  if (edgec_model_open(argv[1], NULL, &model) != EDGEC_OK) return fail("cannot load the model");
  if (edgec_session_create(model, NULL, &session) != EDGEC_OK) return fail("cannot prepare the model");
  edgec_model_free(model); /* the session keeps what it needs */

  if (edgec_input_data(session, 0, &input, &bytes) != EDGEC_OK) return fail("no input");
  if (bytes != 64 * sizeof(float) || !read_digit_image(argv[2], (float *)input)) {
    fprintf(stderr, "classify_c: %s is no 8x8 picture, or the model takes other input\n", argv[2]);
    return 1;
  }
  if (edgec_run(session) != EDGEC_OK) return fail("cannot run");
  if (edgec_output_data(session, 0, &output, &bytes) != EDGEC_OK) return fail("no output");

  scores = (const float *)output;
  for (i = 1; i < bytes / sizeof(float); ++i)
    if (scores[i] > scores[best]) best = i;
  printf("digit %u (logit %.2f)\n", (unsigned)best, scores[best]);
  edgec_session_free(session);
  return 0;
}
