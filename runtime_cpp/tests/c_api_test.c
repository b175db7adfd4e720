/* The C ABI from C99: every function, good and bad arguments. The model comes as a file (argument 1), written
 * by write_sample_model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgec/edgec.h"

static int failed = 0;

#define CHECK(condition)                                                                        \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      fprintf(stderr, "%s:%d: not true: %s (last error: %s)\n", __FILE__, __LINE__, #condition, \
              edgec_last_error());                                                              \
      ++failed;                                                                                 \
    }                                                                                           \
  } while (0)

/* The status, and a part of the message. */
static int refused(edgec_status got, edgec_status expected, const char *part) {
  if (got == expected && strstr(edgec_last_error(), part) != NULL) return 1;
  fprintf(stderr, "got %s, expected %s with \"%s\"\n", edgec_status_name(got), edgec_status_name(expected),
          part);
  return 0;
}

/* y = max over 2x2 windows of relu(x + bias): see support/sample_models.h. */
static float expected_output(const float *x, int n, int i) {
  const float bias[2] = {0.5f, -0.25f};
  const int oh = i / 4, ow = i / 2 % 2, c = i % 2;
  float best = 0;
  for (int h = 0; h < 2; ++h) {
    for (int w = 0; w < 2; ++w) {
      const float v = x[((n * 4 + oh * 2 + h) * 4 + ow * 2 + w) * 2 + c] + bias[c];
      if (v > best) best = v;
    }
  }
  return best;
}

static void fill(float *x, size_t count) {
  for (size_t i = 0; i < count; ++i) x[i] = (float)((i * 37) % 64) / 16.0f - 2.0f;
}

static void check_output(const float *x, const float *y, int batch) {
  for (int n = 0; n < batch; ++n) {
    for (int i = 0; i < 8; ++i) CHECK(y[n * 8 + i] == expected_output(x, n, i));
  }
}

static void test_library(void) {
  CHECK(edgec_abi_version() == EDGEC_ABI_VERSION);
  CHECK(strchr(edgec_version(), '.') != NULL);
  CHECK(strlen(edgec_isa_name()) > 0);
  CHECK(strcmp(edgec_status_name(EDGEC_E_SHAPE), "EDGEC_E_SHAPE") == 0);
  CHECK(strcmp(edgec_status_name((edgec_status)99), "unknown status") == 0);
  CHECK(edgec_dtype_size(EDGEC_F32) == 4 && edgec_dtype_size(EDGEC_I64) == 8);
  CHECK(edgec_dtype_size((edgec_dtype)77) == 0);
  CHECK(strcmp(edgec_dtype_name(EDGEC_BF16), "bf16") == 0);
  CHECK(strcmp(edgec_dtype_name((edgec_dtype)77), "invalid") == 0);
}

static void test_open_errors(const char *path) {
  edgec_model *model = NULL;
  CHECK(refused(edgec_model_open(NULL, NULL, &model), EDGEC_E_ARGUMENT, "path"));
  CHECK(refused(edgec_model_open(path, NULL, NULL), EDGEC_E_ARGUMENT, "out"));
  CHECK(refused(edgec_model_open("/nowhere.edge", NULL, &model), EDGEC_E_IO, "/nowhere.edge"));
  CHECK(refused(edgec_model_from_memory("hello", 5, 1, NULL, &model), EDGEC_E_FILE, "no .edge file"));
  CHECK(refused(edgec_model_from_memory(NULL, 5, 1, NULL, &model), EDGEC_E_ARGUMENT, "data"));
  edgec_open_options options = EDGEC_OPEN_OPTIONS_INIT;
  options.max_file_size = 10;
  CHECK(refused(edgec_model_open(path, &options, &model), EDGEC_E_FILE, "max_file_size"));
  options.struct_size = 0;
  CHECK(refused(edgec_model_open(path, &options, &model), EDGEC_E_ARGUMENT, "struct_size"));
  /* A program of the future: one more member, first unset, then set. */
  struct {
    edgec_open_options known;
    int64_t later;
  } longer = {EDGEC_OPEN_OPTIONS_INIT, 0};
  longer.known.struct_size = sizeof(longer);
  CHECK(edgec_model_open(path, &longer.known, &model) == EDGEC_OK);
  edgec_model_free(model);
  model = NULL;
  longer.later = 1;
  CHECK(refused(edgec_model_open(path, &longer.known, &model), EDGEC_E_UNSUPPORTED, "member"));
  /* A program of the past: knows only the first member. */
  options.struct_size = sizeof(size_t);
  CHECK(edgec_model_open(path, &options, &model) == EDGEC_OK);
  edgec_model_free(model);
}

static void test_model(const edgec_model *model) {
  CHECK(edgec_model_input_count(model) == 1 && edgec_model_output_count(model) == 1);
  CHECK(edgec_model_input_count(NULL) == 0 && edgec_model_output_count(NULL) == 0);
  edgec_tensor_info info = EDGEC_TENSOR_INFO_INIT;
  CHECK(edgec_model_input_info(model, 0, &info) == EDGEC_OK);
  CHECK(strcmp(info.name, "x") == 0 && info.dtype == EDGEC_F32 && info.shape.rank == 4);
  CHECK(info.shape.dims[0] == -1 && info.shape.dims[3] == 2 && info.bytes == 0 &&
        info.quantization_count == 0);
  CHECK(refused(edgec_model_input_info(model, 1, &info), EDGEC_E_ARGUMENT, "no input 1"));
  CHECK(refused(edgec_model_input_info(model, 0, NULL), EDGEC_E_ARGUMENT, "info"));
  CHECK(refused(edgec_model_input_info(NULL, 0, &info), EDGEC_E_ARGUMENT, "model"));
  CHECK(strcmp(edgec_model_output_name(model, 0), "y") == 0 && edgec_model_output_name(model, 1) == NULL);
  const char *name = NULL;
  int64_t low = 0, high = 0;
  CHECK(edgec_model_symbol(model, 0, &name, &low, &high) == EDGEC_OK);
  CHECK(strcmp(name, "batch") == 0 && low == 1 && high == 64);
  CHECK(edgec_model_symbol(model, 0, NULL, NULL, NULL) == EDGEC_OK);
  CHECK(edgec_model_symbol(model, 1, &name, &low, &high) == EDGEC_E_ARGUMENT);
  CHECK(strcmp(edgec_model_metadata(model, "labels"), "cat\ndog") == 0);
  CHECK(edgec_model_metadata(model, "nothing") == NULL && edgec_model_metadata(NULL, "labels") == NULL);
}

static void test_options(const edgec_model *model) {
  edgec_session *session = NULL;
  edgec_session_options options = EDGEC_SESSION_OPTIONS_INIT;
  size_t needed = 0;
  CHECK(edgec_model_required_bytes(model, &options, &needed) == EDGEC_OK && needed > 0);
  CHECK(edgec_model_required_bytes(NULL, &options, &needed) == EDGEC_E_ARGUMENT);
  CHECK(edgec_model_required_bytes(model, &options, NULL) == EDGEC_E_ARGUMENT);
  CHECK(edgec_session_create(NULL, NULL, &session) == EDGEC_E_ARGUMENT);
  CHECK(edgec_session_create(model, NULL, NULL) == EDGEC_E_ARGUMENT);
  options.isa = "pentium";
  CHECK(refused(edgec_session_create(model, &options, &session), EDGEC_E_ARGUMENT, "scalar"));
  options.isa = "scalar";
  options.max_memory = 1;
  CHECK(refused(edgec_session_create(model, &options, &session), EDGEC_E_MEMORY, "limit"));
  options.max_memory = 0;
  options.threads = -5;
  CHECK(refused(edgec_session_create(model, &options, &session), EDGEC_E_ARGUMENT, "threads"));
  options.threads = 1;
  edgec_shape shape = {{2, 4, 4, 2}, 4};
  options.input_shapes = &shape;
  options.input_shape_count = 2;
  CHECK(refused(edgec_session_create(model, &options, &session), EDGEC_E_ARGUMENT, "2 input shapes"));
  shape.rank = 9;
  options.input_shape_count = 1;
  CHECK(refused(edgec_session_create(model, &options, &session), EDGEC_E_ARGUMENT, "rank 9"));
  shape.rank = 4;
  shape.dims[0] = 65; /* beyond the symbol's range */
  CHECK(edgec_session_create(model, &options, &session) == EDGEC_E_SHAPE);
  shape.dims[0] = 2;
  options.input_shapes = NULL;
  CHECK(refused(edgec_session_create(model, &options, &session), EDGEC_E_ARGUMENT, "input_shapes"));
  options.input_shapes = &shape;
  CHECK(edgec_session_create(model, &options, &session) == EDGEC_OK);
  edgec_tensor_info info = EDGEC_TENSOR_INFO_INIT;
  CHECK(edgec_output_info(session, 0, &info) == EDGEC_OK && info.shape.dims[0] == 2 &&
        info.bytes == 2 * 8 * 4);
  CHECK(strcmp(info.name, "y") == 0 && info.dtype == EDGEC_F32 && info.dynamic == 0);
  edgec_session_free(session);
}

static void test_run(edgec_model *model) {
  edgec_session *session = NULL;
  CHECK(edgec_session_create(model, NULL, &session) == EDGEC_OK);
  edgec_model_free(model); /* the session keeps what it needs */
  CHECK(edgec_input_count(session) == 1 && edgec_output_count(session) == 1);
  CHECK(edgec_input_count(NULL) == 0 && edgec_output_count(NULL) == 0);
  CHECK(edgec_input_index(session, "x") == 0 && edgec_input_index(session, "y") == -1);
  CHECK(edgec_output_index(session, "y") == 0 && edgec_output_index(session, NULL) == -1);
  CHECK(refused(edgec_run(session), EDGEC_E_ARGUMENT, "'x'")); /* no data yet */

  void *x = NULL;
  const void *y = NULL;
  size_t bytes = 0;
  CHECK(edgec_input_data(session, 0, &x, &bytes) == EDGEC_OK && bytes == 4 * 4 * 2 * 4);
  CHECK((uintptr_t)x % 64 == 0);
  fill((float *)x, 32);
  CHECK(edgec_run(session) == EDGEC_OK);
  CHECK(edgec_output_data(session, 0, &y, &bytes) == EDGEC_OK && bytes == 8 * 4);
  check_output((const float *)x, (const float *)y, 1);

  /* Another batch, in the caller's memory. */
  const edgec_shape three = {{3, 4, 4, 2}, 4};
  CHECK(edgec_prepare(session, &three, 1) == EDGEC_OK);
  float in[3 * 32], out[3 * 8];
  fill(in, 3 * 32);
  CHECK(refused(edgec_bind_input(session, 0, in, sizeof(in) - 4), EDGEC_E_SHAPE, "expected 384"));
  CHECK(edgec_bind_input(session, 0, (char *)in + 1, sizeof(in)) == EDGEC_E_ARGUMENT);
  CHECK(edgec_bind_input(session, 0, NULL, sizeof(in)) == EDGEC_E_ARGUMENT);
  CHECK(edgec_bind_input(session, 7, in, sizeof(in)) == EDGEC_E_ARGUMENT);
  CHECK(edgec_bind_input(session, 0, in, sizeof(in)) == EDGEC_OK);
  CHECK(edgec_bind_output(session, 0, out, sizeof(out)) == EDGEC_OK);
  CHECK(edgec_bind_output(session, 7, out, sizeof(out)) == EDGEC_E_ARGUMENT);
  CHECK(edgec_run(session) == EDGEC_OK);
  check_output(in, out, 3);
  CHECK(edgec_output_data(session, 0, &y, NULL) == EDGEC_OK && y == (const void *)out);

  /* A refused shape leaves the session as it was. */
  const edgec_shape wrong = {{3, 4, 5, 2}, 4};
  CHECK(edgec_prepare(session, &wrong, 1) == EDGEC_E_SHAPE);
  CHECK(refused(edgec_prepare(session, &three, 2), EDGEC_E_ARGUMENT, "2 input shapes"));
  CHECK(refused(edgec_prepare(session, NULL, 1), EDGEC_E_ARGUMENT, "null"));
  CHECK(refused(edgec_prepare(session, NULL, 0), EDGEC_E_ARGUMENT, "0 input shapes"));
  in[5] += 1;
  CHECK(edgec_run(session) == EDGEC_OK);
  check_output(in, out, 3);

  edgec_memory_stats stats = EDGEC_MEMORY_STATS_INIT;
  CHECK(edgec_session_stats(session, &stats) == EDGEC_OK && stats.arena_bytes >= stats.activation_peak);
  CHECK(edgec_session_stats(NULL, &stats) == EDGEC_E_ARGUMENT);
  CHECK(edgec_cancel(session) == EDGEC_OK && edgec_cancel(NULL) == EDGEC_E_ARGUMENT);
  CHECK(edgec_run(session) == EDGEC_OK); /* a cancel without a run does nothing */
  CHECK(edgec_run(NULL) == EDGEC_E_ARGUMENT);
  CHECK(edgec_input_data(session, 0, NULL, NULL) == EDGEC_E_ARGUMENT);
  CHECK(edgec_input_data(session, 3, &x, NULL) == EDGEC_E_ARGUMENT);
  CHECK(edgec_output_data(session, 3, &y, NULL) == EDGEC_E_ARGUMENT);
  edgec_session_free(session);
}

static void test_memory(const char *path) {
  FILE *file = fopen(path, "rb");
  CHECK(file != NULL);
  if (file == NULL) return;
  fseek(file, 0, SEEK_END);
  const size_t size = (size_t)ftell(file);
  rewind(file);
  char *data = malloc(size);
  CHECK(fread(data, 1, size, file) == size);
  fclose(file);
  edgec_model *model = NULL;
  edgec_open_options options = EDGEC_OPEN_OPTIONS_INIT;
  options.verify_weights = 1;
  CHECK(edgec_model_from_memory(data, size, 1, &options, &model) == EDGEC_OK);
  memset(data, 0, size); /* it was copied */
  free(data);
  test_model(model);
  edgec_model_free(model);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s sample.edge\n", argv[0]);
    return 2;
  }
  edgec_model *model = NULL;
  test_library();
  CHECK(strcmp(edgec_last_error(), "") == 0);
  test_open_errors(argv[1]);
  CHECK(edgec_model_open(argv[1], NULL, &model) == EDGEC_OK);
  if (model == NULL) return 1;
  test_model(model);
  test_options(model);
  test_run(model);
  test_memory(argv[1]);
  edgec_model_free(NULL);
  edgec_session_free(NULL);
  printf("%d failures\n", failed);
  return failed != 0;
}
