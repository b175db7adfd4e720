/* edgec: run .edge models. Plain C99; the only binary interface that is promised.
 *
 *   edgec_model *model;
 *   edgec_session *session;
 *   if (edgec_model_open("net.edge", NULL, &model) != EDGEC_OK) return fail(edgec_last_error());
 *   if (edgec_session_create(model, NULL, &session) != EDGEC_OK) return fail(edgec_last_error());
 *   void *x; size_t bytes;
 *   edgec_input_data(session, 0, &x, &bytes);       // fill x
 *   if (edgec_run(session) != EDGEC_OK) return fail(edgec_last_error());
 *   const void *y;
 *   edgec_output_data(session, 0, &y, &bytes);      // read y
 *   edgec_session_free(session);
 *   edgec_model_free(model);
 *
 * Rules that hold for every function
 * - A function that returns edgec_status leaves its out-parameters untouched unless it returns EDGEC_OK.
 * - A null handle or out-parameter gives EDGEC_E_ARGUMENT, never a crash. The free functions accept null.
 * - Structures with a member struct_size: set it to sizeof the structure (or use the _INIT macro). A library
 *   that knows fewer members than the caller ignores the rest as long as they are zero; one that knows more
 *   takes zero for what the caller does not have. So old programs run with new libraries and the reverse.
 * - Strings are UTF-8. Strings and pointers that the library returns belong to it.
 * - A model may be used by any number of threads at once. A session belongs to one thread at a time; only
 *   edgec_cancel may be called from another. A call that finds the session in use by another thread gives
 *   EDGEC_E_ARGUMENT.
 */
#ifndef EDGEC_EDGEC_H_
#define EDGEC_EDGEC_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(EDGEC_SHARED)
#if defined(EDGEC_BUILDING)
#define EDGEC_API __declspec(dllexport)
#else
#define EDGEC_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define EDGEC_API __attribute__((visibility("default")))
#else
#define EDGEC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every addition; a program that was built with ABI n runs with every library that reports at
 * least n. */
#define EDGEC_ABI_VERSION 1

/* The most dimensions a tensor can have. */
#define EDGEC_MAX_RANK 8

/* What a function can answer. The numbers never change; new ones may be added. */
typedef enum edgec_status {
  EDGEC_OK = 0,
  EDGEC_E_ARGUMENT = 1,    /* a null pointer, an index out of range, a wrong size: the caller's mistake */
  EDGEC_E_FILE = 2,        /* the model is damaged or no .edge file */
  EDGEC_E_VERSION = 3,     /* the model was made for a newer edgec */
  EDGEC_E_UNSUPPORTED = 4, /* an operator, type or instruction set that this library lacks */
  EDGEC_E_MEMORY = 5,      /* no memory, or more than max_memory would be needed */
  EDGEC_E_SHAPE = 6,       /* an input shape that the model does not permit */
  EDGEC_E_CANCELLED = 7,   /* edgec_cancel ended the run */
  EDGEC_E_IO = 8,          /* the file cannot be opened or read */
  EDGEC_E_SIGNATURE = 9,   /* the signature is missing, wrong, or cannot be checked */
  EDGEC_E_INTERNAL = 10    /* a mistake in edgec; please report it with edgec_last_error() */
} edgec_status;

/* Element types. The numbers are those of the file format and never change. */
typedef enum edgec_dtype {
  EDGEC_NONE = 0,
  EDGEC_F32 = 1,
  EDGEC_F16 = 2,
  EDGEC_BF16 = 3,
  EDGEC_I8 = 4,
  EDGEC_U8 = 5,
  EDGEC_I32 = 6,
  EDGEC_I64 = 7,
  EDGEC_BOOL = 8, /* one byte, 0 or 1 */
  EDGEC_F64 = 9,
  EDGEC_I16 = 10,
  EDGEC_U16 = 11,
  EDGEC_U32 = 12,
  EDGEC_U64 = 13,
  EDGEC_F8E4M3FN = 14, /* one byte per element from here on */
  EDGEC_F8E4M3FNUZ = 15,
  EDGEC_F8E5M2 = 16,
  EDGEC_F8E5M2FNUZ = 17,
  EDGEC_F8E8M0 = 18,
  EDGEC_F4E2M1 = 19,
  EDGEC_I4 = 20,
  EDGEC_U4 = 21,
  EDGEC_I2 = 22,
  EDGEC_U2 = 23
} edgec_dtype;

/* A validated model; immutable. */
typedef struct edgec_model edgec_model;
/* A model prepared for one set of input shapes and one number of threads. */
typedef struct edgec_session edgec_session;

/* The dimensions of one tensor. dims[rank..] is ignored. Its layout never changes. */
typedef struct edgec_shape {
  int64_t dims[EDGEC_MAX_RANK];
  int32_t rank;
} edgec_shape;

/* An input or output. */
typedef struct edgec_tensor_info {
  size_t struct_size;
  const char *name;  /* lives as long as the model or session it was asked from */
  int32_t dtype;     /* an edgec_dtype; EDGEC_NONE for a dynamic output before the first run */
  int32_t dynamic;   /* 1: an output whose shape depends on the data and is known only after each run, or
                        an input of a model that takes any shape */
  edgec_shape shape; /* asked from a model: -(i + 1) stands for symbolic dimension i */
  size_t bytes;      /* of the dense tensor; 0 while a dimension is unknown */
  /* real = (stored - zero_point) * scale; quantization_count is 0 for tensors that are not quantized, 1 for
   * one scale, else the length of dimension quantization_axis. */
  const float *scales;
  const int32_t *zero_points;
  size_t quantization_count;
  int32_t quantization_axis; /* -1: one scale for the whole tensor */
} edgec_tensor_info;
#define EDGEC_TENSOR_INFO_INIT \
  { sizeof(edgec_tensor_info), NULL, 0, 0, {{0}, 0}, 0, NULL, NULL, 0, 0 }

/* How to load. Zero means the default for every member. */
typedef struct edgec_open_options {
  size_t struct_size;
  size_t max_file_size;   /* refuse larger files; 0 = no limit */
  int32_t verify_weights; /* 1: also check the checksum of the weights, which reads all of them */
  int32_t reserved;       /* zero */
} edgec_open_options;
#define EDGEC_OPEN_OPTIONS_INIT \
  { sizeof(edgec_open_options), 0, 0, 0 }

/* How to prepare. Start from EDGEC_SESSION_OPTIONS_INIT, which is what a null pointer means: one thread. */
typedef struct edgec_session_options {
  size_t struct_size;
  int32_t threads;                 /* counts the caller; 0 = one per CPU that this process may use */
  int32_t reserved;                /* zero */
  size_t max_memory;               /* bytes for activations and packed weights together; 0 = no limit */
  const edgec_shape *input_shapes; /* one per input, in order; null = the smallest the model permits */
  size_t input_shape_count;        /* 0 with null, else the number of inputs */
  const char *isa;                 /* forces an instruction set ("scalar", "avx2"...); null = the best */
} edgec_session_options;
#define EDGEC_SESSION_OPTIONS_INIT \
  { sizeof(edgec_session_options), 1, 0, 0, NULL, 0, NULL }

/* Memory of a session, in bytes. */
typedef struct edgec_memory_stats {
  size_t struct_size;
  size_t arena_bytes;         /* the one block for activations and scratch: exactly what was allocated */
  size_t activation_peak;     /* largest sum of activations that live at the same time */
  size_t packed_bytes;        /* weights rearranged for this CPU */
  size_t mapped_weight_bytes; /* weights used in place in the model file or memory */
  size_t folded_bytes;        /* values computed once while preparing */
} edgec_memory_stats;
#define EDGEC_MEMORY_STATS_INIT \
  { sizeof(edgec_memory_stats), 0, 0, 0, 0, 0 }

/* --- the library -----------------------------------------------------------------------------------------
 */

/* EDGEC_ABI_VERSION of the library that is loaded. */
EDGEC_API uint32_t edgec_abi_version(void);
/* The release, "0.1.0". */
EDGEC_API const char *edgec_version(void);
/* The instruction set that sessions use by default on this CPU, "avx512" for example. The environment
 * variable EDGEC_ISA overrides it. */
EDGEC_API const char *edgec_isa_name(void);
/* "EDGEC_E_SHAPE"; "unknown status" for a number that this library does not have. */
EDGEC_API const char *edgec_status_name(edgec_status status);
/* Bytes of one element, 0 for EDGEC_NONE and unknown numbers. */
EDGEC_API size_t edgec_dtype_size(edgec_dtype dtype);
/* "f32"; "invalid" for an unknown number. */
EDGEC_API const char *edgec_dtype_name(edgec_dtype dtype);
/* What went wrong in the last call of this thread that did not return EDGEC_OK: what, where, what was
 * expected, what to do. "" before the first failure. Valid until the next failing call of this thread. */
EDGEC_API const char *edgec_last_error(void);

/* --- models ----------------------------------------------------------------------------------------------
 */

/* Maps and validates a file. It stays mapped while the model or a session of it lives: replace a model file
 * by renaming a new one over it, never by writing into it.
 * options may be null. Errors: EDGEC_E_IO, EDGEC_E_FILE, EDGEC_E_VERSION, EDGEC_E_UNSUPPORTED (an unknown
 * operator), EDGEC_E_SIGNATURE, EDGEC_E_MEMORY. */
EDGEC_API edgec_status edgec_model_open(const char *path, const edgec_open_options *options,
                                        edgec_model **out);
/* Validates a model that lies in memory. copy = 0: `data` has to be 64-byte aligned and must stay alive and
 * unchanged while the model or a session of it lives. Errors: as edgec_model_open. */
EDGEC_API edgec_status edgec_model_from_memory(const void *data, size_t size, int copy,
                                               const edgec_open_options *options, edgec_model **out);
/* Sessions keep what they need, so the model may be freed before them. */
EDGEC_API void edgec_model_free(edgec_model *model);
/* Number of inputs and outputs; 0 for null. */
EDGEC_API size_t edgec_model_input_count(const edgec_model *model);
EDGEC_API size_t edgec_model_output_count(const edgec_model *model);
/* Describes input `index` as the file declares it, symbolic dimensions included. */
EDGEC_API edgec_status edgec_model_input_info(const edgec_model *model, size_t index,
                                              edgec_tensor_info *info);
/* Name of output `index`, null when there is none. Types and shapes of outputs: edgec_output_info. */
EDGEC_API const char *edgec_model_output_name(const edgec_model *model, size_t index);
/* Symbolic dimension `index`: its name and permitted range (*max = 0: no upper bound). Each out-parameter may
 * be null. EDGEC_E_ARGUMENT past the last one. */
EDGEC_API edgec_status edgec_model_symbol(const edgec_model *model, size_t index, const char **name,
                                          int64_t *min, int64_t *max);
/* The metadata value of a key such as "labels" or "producer"; null when the model has none. */
EDGEC_API const char *edgec_model_metadata(const edgec_model *model, const char *key);
/* How many bytes a session with these options would hold: activations, packed weights, computed values, and
 * its own inputs and outputs. Weights are packed to find out and released again; memory for activations is
 * not touched. max_memory is honoured as in edgec_session_create. options may be null. Errors: as
 * edgec_session_create. */
EDGEC_API edgec_status edgec_model_required_bytes(const edgec_model *model,
                                                  const edgec_session_options *options, size_t *bytes);

/* --- sessions --------------------------------------------------------------------------------------------
 */

/* Chooses kernels, packs weights, plans and allocates memory, so that edgec_run allocates nothing (except for
 * operators whose output shapes depend on data). options may be null.
 * Errors: EDGEC_E_SHAPE, EDGEC_E_MEMORY (needs more than max_memory), EDGEC_E_UNSUPPORTED, EDGEC_E_ARGUMENT
 * (also for an unknown isa). */
EDGEC_API edgec_status edgec_session_create(const edgec_model *model, const edgec_session_options *options,
                                            edgec_session **out);
/* Must not be called while another thread is in edgec_run of this session. */
EDGEC_API void edgec_session_free(edgec_session *session);
/* Prepares for other input shapes, one per input in order. Bound memory is forgotten and pointers from
 * edgec_input_data and edgec_output_data become invalid, unless the shapes are those it already has.
 * On failure the session keeps its former shapes. */
EDGEC_API edgec_status edgec_prepare(edgec_session *session, const edgec_shape *input_shapes, size_t count);

/* Number of inputs and outputs; 0 for null. */
EDGEC_API size_t edgec_input_count(const edgec_session *session);
EDGEC_API size_t edgec_output_count(const edgec_session *session);
/* Index of the input or output with this name, -1 when there is none. */
EDGEC_API int32_t edgec_input_index(const edgec_session *session, const char *name);
EDGEC_API int32_t edgec_output_index(const edgec_session *session, const char *name);
/* Describes an input or output for the prepared shapes. Dynamic outputs: for the last run. */
EDGEC_API edgec_status edgec_input_info(const edgec_session *session, size_t index, edgec_tensor_info *info);
EDGEC_API edgec_status edgec_output_info(const edgec_session *session, size_t index, edgec_tensor_info *info);

/* The session's own memory of an input, 64-byte aligned, to be filled before edgec_run. Undoes an
 * edgec_bind_input. `bytes` may be null. */
EDGEC_API edgec_status edgec_input_data(edgec_session *session, size_t index, void **data, size_t *bytes);
/* Where the output lies: in bound memory or the session's own. Its contents are those of the last
 * successful run and live until the next run or prepare. `bytes` may be null. */
EDGEC_API edgec_status edgec_output_data(edgec_session *session, size_t index, const void **data,
                                         size_t *bytes);
/* Reads the input from / writes the output to the caller's dense memory in every run, without a copy, until
 * the next bind of the same index or prepare. `bytes` is the exact size of the tensor (edgec_tensor_info);
 * the pointer is a multiple of the element size. Inputs are never written. An output may overlap neither an
 * input nor another output. A dynamic output cannot be bound (EDGEC_E_UNSUPPORTED). */
EDGEC_API edgec_status edgec_bind_input(edgec_session *session, size_t index, const void *data, size_t bytes);
EDGEC_API edgec_status edgec_bind_output(edgec_session *session, size_t index, void *data, size_t bytes);

/* Computes all outputs. The result is the same, bit for bit, for every number of threads.
 * Errors: EDGEC_E_ARGUMENT (an input never got data), EDGEC_E_CANCELLED, EDGEC_E_SHAPE and EDGEC_E_ARGUMENT
 * (an index in the input data is out of range), EDGEC_E_MEMORY. */
EDGEC_API edgec_status edgec_run(edgec_session *session);
/* From any thread, at any time: the run that is going on returns EDGEC_E_CANCELLED before its next operator.
 * Without a run it does nothing. The session stays usable. */
EDGEC_API edgec_status edgec_cancel(edgec_session *session);
/* What the session holds for its present shapes. */
EDGEC_API edgec_status edgec_session_stats(const edgec_session *session, edgec_memory_stats *stats);

#ifdef __cplusplus
}
#endif
#endif /* EDGEC_EDGEC_H_ */
