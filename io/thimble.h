/* SPDX-License-Identifier: Apache-2.0
 *
 * Thimble for C11 and whatever can call C: the same models, sessions and answers as the C++ classes, in memory that the
 * caller owns. Nothing here allocates, prints, keeps a global or calls back, but for `run` of a thimble_backend.
 *
 * Order of use: open a model, bind what is needed of it (tokenizer, choices, session, sampler, task), then run. Every
 * bind takes memory and gives a pointer into it; there is nothing to close. What is bound holds pointers to what it was
 * bound of, so the bytes of the file and all memory stay where they are until the last of it is no longer used.
 *
 * Pointers must be valid and not NULL where nothing else is said. Threads: a thimble_model is only read and may be
 * shared; anything else, with what it was bound of, is for one thread at a time. */
#ifndef THIMBLE_H_
#define THIMBLE_H_

#include <stddef.h>
#include <stdint.h>

/* NOLINTBEGIN(readability-identifier-naming): names as C has them */
#ifdef __cplusplus
extern "C" {
#endif

#define THIMBLE_VERSION 100 /* major * 10000 + minor * 100 + patch */
#define THIMBLE_ALIGN 64    /* what memory begins on a multiple of */

/* THIMBLE_VERSION of the library that was linked. */
int32_t thimble_version(void);

typedef int32_t thimble_token; /* a token's id, in [0, thimble_vocab) */

/* Objects, in the caller's memory. */
typedef struct thimble_model thimble_model;         /* views of a file: the weights stay in it */
typedef struct thimble_tokenizer thimble_tokenizer; /* text to tokens and back */
typedef struct thimble_session thimble_session;     /* one conversation */
typedef struct thimble_sampler thimble_sampler;     /* the next token from logits */
typedef struct thimble_choices thimble_choices;     /* a closed set of answers */
typedef struct thimble_task thimble_task;           /* a question to be asked of texts */
typedef struct thimble_kernels thimble_kernels;     /* the arithmetic of a processor: thimble_arm.h */

/* ---- Errors. A function that gives one and fails has changed nothing, unless it says so. ---- */

enum {
  THIMBLE_OK = 0,
  THIMBLE_BAD_FILE = 1,     /* bytes that break their format */
  THIMBLE_UNSUPPORTED = 2,  /* well-formed, but not what this library reads; a struct of a newer one */
  THIMBLE_NOT_FOUND = 3,    /* a key, tensor or token that must be there is not */
  THIMBLE_TOO_LARGE = 4,    /* a size that cannot be planned, a text longer than max_text */
  THIMBLE_TOO_SMALL = 5,    /* memory; `at` is the number needed */
  THIMBLE_FULL = 6,         /* the context; `at` is the number of tokens it holds */
  THIMBLE_BAD_ARGUMENT = 7, /* the caller's request makes no sense */
  THIMBLE_SYSTEM = 8        /* the operating system refused; `at` is errno */
};

/* This struct never changes. name and detail look into the file or into what the caller gave; they end at no zero. */
typedef struct thimble_error {
  int32_t status;   /* THIMBLE_OK or another of those above */
  const char *what; /* one static sentence: what is wrong and what to do */
  const char *name; /* which key, tensor, option or token; perhaps none */
  size_t name_bytes;
  const char *detail; /* the offending value as text; perhaps none */
  size_t detail_bytes;
  uint64_t at; /* byte offset, index, count or errno */
} thimble_error;

/* Writes the error as one line, cut to fit, with a zero behind it. Returns its length; bytes >= 1. */
size_t thimble_error_text(const thimble_error *error, char *out, size_t bytes);

/* ---- Structs of the caller begin with struct_size, which is sizeof of the struct; the macros set it and the defaults.
 * Fields beyond a smaller size have their defaults. A larger size is of a newer library: THIMBLE_UNSUPPORTED unless all
 * bytes that this one does not know are zero. THIMBLE_BAD_ARGUMENT for a size that ends within a field or makes no
 * sense. ---- */

/* Memory, handed out from front to back. With base NULL it is only counted: calls give NULL pointers, and `needed` the
 * bytes that the same calls want of real memory. That is the plan; so is `at` of THIMBLE_TOO_SMALL. */
typedef struct thimble_memory {
  uint32_t struct_size;
  void *base;    /* on a multiple of THIMBLE_ALIGN, or NULL */
  size_t bytes;  /* of base; not read without it */
  size_t used;   /* begins as 0; calls that succeed move it on */
  size_t needed; /* begins as 0; the most bytes that any call has wanted, all before it included */
} thimble_memory;
#define THIMBLE_MEMORY(base, bytes) {(uint32_t)sizeof(thimble_memory), (base), (bytes), 0, 0}

/* What a session may use. */
typedef struct thimble_limits {
  uint32_t struct_size;
  uint32_t context;     /* tokens that the key/value cache holds */
  uint32_t batch;       /* tokens that go through the layers together; more is faster prefill and more memory */
  uint32_t k;           /* format of the keys in the cache: THIMBLE_F32, _F16, _Q8_0 or _IQ4_NL */
  uint32_t v;           /* and of the values: these or THIMBLE_NL3, no more bits than the keys */
  uint32_t state;       /* how DeltaNet states are kept: THIMBLE_STATE_F32 or _I16 */
  uint32_t checkpoints; /* that thimble_choose may use: thimble_checkpoints() or more */
  uint32_t rewind;      /* tokens that thimble_rewind can take back; each costs a copy of the state */
  uint32_t window;      /* tokens that a token attends to; not 0: the session has no end, and context is not read */
  uint32_t sinks;       /* and of the first ones, with a window */
} thimble_limits;
#define THIMBLE_LIMITS \
  {(uint32_t)sizeof(thimble_limits), 4096, 64, THIMBLE_F16, THIMBLE_F16, THIMBLE_STATE_F32, 0, 0, 0, 4}
enum { THIMBLE_F32 = 0, THIMBLE_F16 = 1, THIMBLE_Q8_0 = 8, THIMBLE_IQ4_NL = 20, THIMBLE_NL3 = 1002 };
enum { THIMBLE_STATE_F32 = 0, THIMBLE_STATE_I16 = 1 };

/* What a session computes with. */
typedef struct thimble_backend {
  uint32_t struct_size;
  uint32_t workers;               /* threads of `run`, at least 1; each costs scratch */
  const thimble_kernels *kernels; /* NULL: the portable ones */
  void *context;                  /* of run */
  /* Calls task(argument, index, worker) once for every index below `tasks`, in any order, with worker < workers
   * different for calls that overlap, and returns when all are done. NULL: no threads. */
  void (*run)(void *context, size_t tasks, void (*task)(void *argument, size_t index, size_t worker), void *argument);
} thimble_backend;
#define THIMBLE_BACKEND {(uint32_t)sizeof(thimble_backend), 1, NULL, NULL, NULL}

typedef struct thimble_logit_bias {
  thimble_token token;
  float bias; /* added to its logit; minus infinity forbids it */
} thimble_logit_bias;

/* How the next token is drawn: from the model's own distribution unless said otherwise. Applied in the order
 * logit_bias, repetition, presence and frequency penalty, temperature, top_k, top_p, min_p. */
typedef struct thimble_sampling {
  uint32_t struct_size;
  float temperature;        /* logits / temperature; 0: always the largest logit */
  uint32_t top_k;           /* keep this many tokens; 0: all */
  float top_p;              /* keep the most probable tokens until they have this much probability */
  float min_p;              /* keep tokens with this share of the largest probability */
  float repetition_penalty; /* above 0; logits of seen tokens: above 0 divided by it, below 0 multiplied */
  float presence_penalty;   /* subtracted from the logit of every token that was generated */
  float frequency_penalty;  /* subtracted once for each time that it was generated */
  uint32_t penalty_window;  /* tokens that the penalties look back; not 0 costs memory where there are any */
  uint64_t seed;
  const thimble_logit_bias *logit_bias; /* [logit_biases]; must outlive the sampler */
  size_t logit_biases;
} thimble_sampling;
#define THIMBLE_SAMPLING {(uint32_t)sizeof(thimble_sampling), 1, 0, 1, 0, 1, 0, 0, 1024, 0, NULL, 0}

/* Bytes that a session takes; struct_size is the caller's, the rest is written. */
typedef struct thimble_session_plan {
  uint32_t struct_size;
  size_t state;       /* DeltaNet states and all else that a conversation is but its cache */
  size_t cache;       /* keys and values */
  size_t checkpoints; /* copies of state */
  size_t history;     /* copies of state, for thimble_rewind */
  size_t work;        /* activations of a batch, scratch of the workers */
  size_t total;       /* of these and the object: what thimble_bind_session takes */
} thimble_session_plan;

/* ---- Open ---- */

/* Proves a GGUF, or a pack that `thimble pack` made, whole in memory: a mapped file, or flash. `file` begins on a
 * multiple of 8, of THIMBLE_ALIGN for a pack. Bytes of any origin may be given: THIMBLE_BAD_FILE, _UNSUPPORTED or
 * _NOT_FOUND say which key or tensor is wrong. Checksums are not compared. */
thimble_error thimble_open(const void *file, size_t bytes, thimble_memory *memory, thimble_model **model);

/* A model that was proven when the program was built: a C++ file, written by `thimble plan PACK --source`, says what is
 * in it and which formats are linked. A program that calls these and not thimble_open contains nothing that reads
 * files, and the views take no memory. */
typedef struct thimble_linked thimble_linked;

/* What that file defines; only for a program that has it. */
const thimble_linked *thimble_linked_model(void);

/* `file`: the bytes that the linker calls board_model. THIMBLE_BAD_FILE: by their number and CRC-32 not those that the
 * source was written from. */
thimble_error thimble_open_linked(const thimble_linked *linked, const void *file, size_t bytes, thimble_memory *memory,
                                  thimble_model **model);

uint32_t thimble_vocab(const thimble_model *model);   /* tokens, padding included */
uint32_t thimble_context(const thimble_model *model); /* tokens that it was trained for */

/* ---- Text: UTF-8, `bytes` long. ---- */

/* max_text: bytes of the longest text that will be encoded, prompts and choices included. */
thimble_error thimble_bind_tokenizer(const thimble_model *model, size_t max_text, thimble_memory *memory,
                                     thimble_tokenizer **tokenizer);

/* The same of a pack, which has its index in it; THIMBLE_NOT_FOUND without. A program that only calls this one does not
 * contain what builds an index. */
thimble_error thimble_bind_indexed_tokenizer(const thimble_model *model, size_t max_text, thimble_memory *memory,
                                             thimble_tokenizer **tokenizer);

/* The same of a linked model, for text in Latin script with its signs and marks: what a microcontroller has room for.
 * Other characters are THIMBLE_UNSUPPORTED when they are to be encoded, `at` the byte. THIMBLE_BAD_ARGUMENT, as above:
 * a model of the other kind. */
thimble_error thimble_bind_linked_tokenizer(const thimble_model *model, size_t max_text, thimble_memory *memory,
                                            thimble_tokenizer **tokenizer);

/* Writes the tokens of `text`, nothing added, and their number. `specials`: not 0 takes "<|im_end|>" and its like for
 * what they spell; 0 for text, as what a user typed should be. THIMBLE_TOO_LARGE: longer than max_text;
 * THIMBLE_TOO_SMALL: more tokens than `room`, `at` of them. */
thimble_error thimble_encode(thimble_tokenizer *tokenizer, const char *text, size_t bytes, int specials,
                             thimble_token *tokens, size_t room, size_t *count);

/* Writes the bytes of `count` tokens, one behind the other (a character may go over several tokens), and their number.
 * THIMBLE_TOO_SMALL: `at` bytes of room are always enough for these. */
thimble_error thimble_decode(const thimble_tokenizer *tokenizer, const thimble_token *tokens, size_t count, char *text,
                             size_t room, size_t *bytes);

/* Whether generation stops at this token. */
int thimble_is_end(const thimble_tokenizer *tokenizer, thimble_token token);

/* ---- Session. limits and backend may be NULL: the defaults. They need not outlive the call. ---- */

/* Pure arithmetic. THIMBLE_BAD_ARGUMENT, _UNSUPPORTED, _TOO_LARGE: limits that cannot be. */
thimble_error thimble_plan(const thimble_model *model, const thimble_limits *limits, const thimble_backend *backend,
                           thimble_session_plan *plan);

/* Takes plan.total bytes; the session is empty. Errors: those of thimble_plan, and memory. Kernels, and what `run`
 * works with, must outlive it. No call on a session takes any memory after this one. */
thimble_error thimble_bind_session(const thimble_model *model, const thimble_limits *limits,
                                   const thimble_backend *backend, thimble_memory *memory, thimble_session **session);

/* Forgets everything that was fed. */
void thimble_reset(thimble_session *session);

/* Runs tokens through the model. THIMBLE_FULL: they do not fit; THIMBLE_BAD_ARGUMENT: no such token. */
thimble_error thimble_feed(thimble_session *session, const thimble_token *tokens, size_t count);

/* Tokens fed, and tokens that still fit (SIZE_MAX less the length with a window). */
size_t thimble_length(const thimble_session *session);
size_t thimble_room(const thimble_session *session);

/* The logits behind the last token, [thimble_vocab]; good, and free to be changed, until the next call on the session.
 * NULL when nothing was fed. */
float *thimble_logits(thimble_session *session);

/* Takes back the last `count` tokens, to the bit. THIMBLE_BAD_ARGUMENT: only `at` can be, of limits.rewind. */
thimble_error thimble_rewind(thimble_session *session, size_t count);

/* The conversation as bytes: another session of the same model and limits (its context may differ) goes on from them
 * with the same bits. They hold no checksum and no name of the model: see to those where images are kept in files or
 * flash. Save, THIMBLE_TOO_SMALL: `at` is thimble_image_bytes. Restore: THIMBLE_BAD_FILE, _UNSUPPORTED:
 * no image of this version; THIMBLE_BAD_ARGUMENT: of other limits or sizes; THIMBLE_FULL: more tokens than fit. */
size_t thimble_image_bytes(const thimble_session *session);
thimble_error thimble_save(const thimble_session *session, void *image, size_t bytes);
thimble_error thimble_restore(thimble_session *session, const void *image, size_t bytes);

/* ---- Generation ---- */

/* sampling may be NULL: the defaults. With a tokenizer (or NULL), ids that are no token of it are never drawn.
 * THIMBLE_BAD_ARGUMENT names the option that is out of its range. */
thimble_error thimble_bind_sampler(const thimble_model *model, const thimble_tokenizer *tokenizer,
                                   const thimble_sampling *sampling, thimble_memory *memory, thimble_sampler **sampler);

/* For a new conversation: forgets what was seen and begins the random numbers again. */
void thimble_reset_sampler(thimble_sampler *sampler);

/* Tells the repetition penalty about the tokens of a prompt, each in [0, thimble_vocab). */
void thimble_accept_prompt(thimble_sampler *sampler, const thimble_token *tokens, size_t count);

/* One step: draws the token behind the last one, tells the sampler, and feeds it. THIMBLE_FULL: no room, nothing was
 * drawn; THIMBLE_BAD_ARGUMENT: nothing was fed before; THIMBLE_BAD_FILE: logits that are no numbers. */
thimble_error thimble_next(thimble_session *session, thimble_sampler *sampler, thimble_token *token);

/* ---- Closed sets ---- */

/* The answers that thimble_choose tells apart: `count` texts with a zero behind each, specials recognised; or with
 * texts NULL the file's own, thimble.choices. The texts need not outlive the call. THIMBLE_NOT_FOUND: the file has
 * none; THIMBLE_BAD_ARGUMENT: `at` is the index of one that is empty, there twice, or begins another that cannot be
 * told apart. */
thimble_error thimble_bind_choices(const thimble_model *model, thimble_tokenizer *tokenizer, const char *const *texts,
                                   size_t count, thimble_memory *memory, thimble_choices **choices);

size_t thimble_choice_count(const thimble_choices *choices);
uint32_t thimble_checkpoints(const thimble_choices *choices); /* what limits.checkpoints must be at least: 0 or 1 */

/* p[i] = probability that choice i is what comes next, given that one of them does; [thimble_choice_count], their sum
 * is 1. The session is afterwards as it was, also after an error. THIMBLE_BAD_ARGUMENT: nothing was fed, or too few
 * checkpoints; THIMBLE_FULL: the longest choice does not fit. */
thimble_error thimble_choose(thimble_choices *choices, thimble_session *session, float *p);

/* The question that is asked of texts: `prompt`, with {text} once and specials spelled out, or with NULL the file's own
 * (thimble.prompt). How a text is prepared, labels and threshold are the file's. prompt must outlive the task, whose
 * questions go to `session`. THIMBLE_NOT_FOUND: the file has no prompt. */
thimble_error thimble_bind_task(const thimble_model *model, thimble_tokenizer *tokenizer, thimble_session *session,
                                const char *prompt, thimble_memory *memory, thimble_task **task);

/* Resets the session, feeds it the prompt with `text` in it, and chooses as thimble_choose does. Special tokens that
 * the text spells stay text. THIMBLE_TOO_LARGE: more than max_text bytes; THIMBLE_FULL: more tokens than the context.
 * After an error the session is empty or as far as it came. */
thimble_error thimble_classify(thimble_task *task, thimble_choices *choices, const char *text, size_t bytes, float *p);

/* The file's name for its own choice i, in the file, `bytes` long without a zero; NULL beyond the last. */
const char *thimble_label(const thimble_task *task, size_t i, size_t *bytes);

/* The file's thimble.threshold: a best probability below it is uncertain; 0 without one. */
float thimble_threshold(const thimble_task *task);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming) */
#endif
