/* SPDX-License-Identifier: Apache-2.0
 *
 * thimble.h from C11, with the intent model that the project ships, in one block of memory. It needs no file, no heap
 * and no stdio, so a board runs it as it is: who links it gives `say` and `intent_model` (c_api_host.c does on a host).
 */
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arm/thimble_arm.h"
#include "io/thimble.h"

#ifndef MEMORY_BYTES
#define MEMORY_BYTES (1024 * 1024)
#endif

void say(const char *text);              /* a piece of a line */
const void *intent_model(size_t *bytes); /* examples/intent/intent-q4_0.gguf, on a multiple of THIMBLE_ALIGN */

int main(void);

/* Three lines of tests/data/intent/sample.tsv: what Hugging Face says. */
static const struct {
  const char *text;
  const char *label;
  double p;
} kSamples[] = {
    {"how would you say fly in italian", "translate", 0.954030},
    {"Define antebellum.", "definition", 0.919039},
    {"Is there a travel alert in spain?", "travel_alert", 0.953365},
};
enum { SAMPLES = sizeof kSamples / sizeof kSamples[0], CHOICES = 151, MAX_TEXT = 160, MAX_VOCAB = 2048 };

static alignas(THIMBLE_ALIGN) unsigned char block[MEMORY_BYTES];
static int failed;

static void say_number(uint64_t number) {
  char digits[21] = {0};
  size_t at = sizeof digits - 1;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number != 0);
  say(digits + at);
}

static void check(bool good, const char *what, int line) {
  if (good) return;
  failed = 1;
  say("c_api_test.c:");
  say_number((uint64_t)line);
  say(": not so: ");
  say(what);
  say("\n");
}
#define CHECK(condition) check(condition, #condition, __LINE__)

/* Whether there is no error; tells of one. */
static bool fine(thimble_error error, int line) {
  char text[200];
  if (error.status == THIMBLE_OK) return true;
  thimble_error_text(&error, text, sizeof text);
  check(false, text, line);
  return false;
}
#define FINE(call) fine(call, __LINE__)

static bool is(thimble_error error, int32_t status) { return error.status == status && error.what[0] != '\0'; }

/* All that the tests use, in `memory`. */
typedef struct {
  thimble_memory memory;
  thimble_model *model;
  thimble_tokenizer *tokenizer;
  thimble_choices *choices;
  thimble_session *session;
  thimble_sampler *sampler;
  thimble_task *task;
} everything;

static const thimble_limits kLimits = {sizeof kLimits, 64, 32, THIMBLE_F32, THIMBLE_F32, THIMBLE_STATE_F32, 0, 4, 0, 4};

static thimble_sampling sampling(void) {
  thimble_sampling s = THIMBLE_SAMPLING;
  s.temperature = 0.8f;
  s.top_k = 40;
  s.repetition_penalty = 1.1f;
  s.penalty_window = 32;
  s.seed = 7;
  return s;
}

/* Binding in one go, as a program does: the first call that fails says why. */
static thimble_error bind_all(const void *file, size_t bytes, everything *e) {
  const thimble_sampling s = sampling();
  thimble_error error = thimble_open(file, bytes, &e->memory, &e->model);
  if (error.status == 0) error = thimble_bind_tokenizer(e->model, MAX_TEXT, &e->memory, &e->tokenizer);
  if (error.status == 0) error = thimble_bind_choices(e->model, e->tokenizer, NULL, 0, &e->memory, &e->choices);
  if (error.status == 0) error = thimble_bind_session(e->model, &kLimits, NULL, &e->memory, &e->session);
  if (error.status == 0) error = thimble_bind_sampler(e->model, e->tokenizer, &s, &e->memory, &e->sampler);
  if (error.status == 0) error = thimble_bind_task(e->model, e->tokenizer, e->session, NULL, &e->memory, &e->task);
  return error;
}

/* `call` takes of *memory; the macro checks that what it counts is what it needs, to the byte, and calls it for real.
 */
#define BIND_TO_THE_BYTE(memory, call)                                                         \
  do {                                                                                         \
    const thimble_memory real = *(memory);                                                     \
    *(memory) = (thimble_memory)THIMBLE_MEMORY(NULL, 0);                                       \
    (memory)->used = real.used;                                                                \
    CHECK(FINE(call) && (memory)->needed > real.used);                                         \
    const size_t needed = (memory)->needed;                                                    \
    CHECK(needed <= real.bytes);                                                               \
    if (needed > real.bytes) break;                                                            \
    const size_t sizes[] = {real.used, real.used + (needed - real.used) / 2, needed - 1};      \
    for (size_t i = 0; i < 3; ++i) {                                                           \
      *(memory) = real;                                                                        \
      (memory)->bytes = sizes[i];                                                              \
      const thimble_error error = call;                                                        \
      CHECK(is(error, THIMBLE_TOO_SMALL) && error.at == needed && (memory)->needed == needed); \
      CHECK((memory)->used == real.used);                                                      \
    }                                                                                          \
    (memory)->bytes = needed;                                                                  \
    FINE(call);                                                                                \
    CHECK((memory)->needed == needed);                                                         \
    (memory)->bytes = real.bytes;                                                              \
  } while (0)

static void test_memory(const void *file, size_t bytes, everything *e) {
  const thimble_sampling s = sampling();
  thimble_session_plan plan = {.struct_size = sizeof plan};
  BIND_TO_THE_BYTE(&e->memory, thimble_open(file, bytes, &e->memory, &e->model));
  BIND_TO_THE_BYTE(&e->memory, thimble_bind_tokenizer(e->model, MAX_TEXT, &e->memory, &e->tokenizer));
  BIND_TO_THE_BYTE(&e->memory, thimble_bind_choices(e->model, e->tokenizer, NULL, 0, &e->memory, &e->choices));
  const size_t before = e->memory.used;
  FINE(thimble_plan(e->model, &kLimits, NULL, &plan));
  BIND_TO_THE_BYTE(&e->memory, thimble_bind_session(e->model, &kLimits, NULL, &e->memory, &e->session));
  CHECK(e->memory.used - before == plan.total);
  CHECK(plan.state > 0 && plan.cache == (size_t)64 * 2 * 2 * 32 * sizeof(float));
  CHECK(plan.checkpoints == 0 && plan.history == 4 * plan.state && plan.work > 0);
  CHECK(plan.total > plan.state + plan.cache + plan.checkpoints + plan.history + plan.work);
  BIND_TO_THE_BYTE(&e->memory, thimble_bind_sampler(e->model, e->tokenizer, &s, &e->memory, &e->sampler));
  BIND_TO_THE_BYTE(&e->memory, thimble_bind_task(e->model, e->tokenizer, e->session, NULL, &e->memory, &e->task));

  /* The same in one go, with the bytes that all of it was. */
  everything again = {.memory = THIMBLE_MEMORY(block, e->memory.needed)};
  if (FINE(bind_all(file, bytes, &again))) *e = again;

  thimble_memory odd = THIMBLE_MEMORY(block + 1, sizeof block - 1);
  CHECK(is(thimble_open(file, bytes, &odd, &again.model), THIMBLE_BAD_ARGUMENT) && again.model == NULL);
  thimble_memory none = THIMBLE_MEMORY(NULL, 0);
  CHECK(is(thimble_bind_session(NULL, NULL, NULL, &none, &again.session), THIMBLE_BAD_ARGUMENT));
  CHECK(is(thimble_bind_linked_tokenizer(e->model, MAX_TEXT, &none, &again.tokenizer), THIMBLE_BAD_ARGUMENT));
}

static void test_classify(everything *e) {
  static float p[CHOICES];
  CHECK(thimble_choice_count(e->choices) == CHOICES && thimble_checkpoints(e->choices) == 0);
  CHECK(thimble_threshold(e->task) > 0.43f && thimble_threshold(e->task) < 0.45f);
  for (size_t i = 0; i < SAMPLES; ++i) {
    if (!FINE(thimble_classify(e->task, e->choices, kSamples[i].text, strlen(kSamples[i].text), p))) continue;
    size_t best = 0, bytes = 0;
    double sum = 0;
    for (size_t c = 0; c < CHOICES; ++c) {
      sum += (double)p[c];
      if (p[c] > p[best]) best = c;
    }
    const char *label = thimble_label(e->task, best, &bytes);
    CHECK(bytes == strlen(kSamples[i].label) && memcmp(label, kSamples[i].label, bytes) == 0);
    const double off = (double)p[best] - kSamples[i].p;
    CHECK(off < 5e-6 && off > -5e-6);
    CHECK(sum > 1 - 1e-5 && sum < 1 + 1e-5);
  }
  size_t bytes = 1;
  CHECK(thimble_label(e->task, CHOICES, &bytes) == NULL && bytes == 0);
  static char lengthy[MAX_TEXT + 1];
  memset(lengthy, 'a', sizeof lengthy);
  CHECK(is(thimble_classify(e->task, e->choices, lengthy, sizeof lengthy, p), THIMBLE_TOO_LARGE));
  memset(lengthy, '7', sizeof lengthy); /* a token each */
  CHECK(is(thimble_classify(e->task, e->choices, lengthy, MAX_TEXT - 1, p), THIMBLE_FULL));
}

/* The processor's own kernels, which may round more, agree. */
static void test_kernels(everything *e) {
  static float p[CHOICES];
  thimble_backend backend = THIMBLE_BACKEND;
  thimble_limits limits = kLimits;
  thimble_memory memory = e->memory;
  thimble_session *session = NULL;
  thimble_task *task = NULL;
  memory.bytes = sizeof block;
  backend.kernels = thimble_fast_kernels();
  limits.rewind = 0;
  limits.batch = 8;
  CHECK(backend.kernels != NULL);
  if (!FINE(thimble_bind_session(e->model, &limits, &backend, &memory, &session))) return;
  if (!FINE(thimble_bind_task(e->model, e->tokenizer, session, NULL, &memory, &task))) return;
  FINE(thimble_classify(task, e->choices, kSamples[0].text, strlen(kSamples[0].text), p));
  float best = 0;
  for (size_t c = 0; c < CHOICES; ++c) best = p[c] > best ? p[c] : best;
  CHECK((double)best > kSamples[0].p - 0.01 && (double)best < kSamples[0].p + 0.01);
}

/* Choices of the caller's own: one is another's beginning, so they need a checkpoint and an end. */
static void test_own_choices(everything *e) {
  const char *const texts[] = {" yes", " yes please", " no"};
  const char *const twice[] = {"yes", "no", "yes"};
  float p[3] = {0};
  thimble_token tokens[8];
  size_t count = 0;
  thimble_choices *choices = NULL;
  thimble_session *session = NULL;
  thimble_memory memory = e->memory;
  memory.bytes = sizeof block;
  BIND_TO_THE_BYTE(&memory, thimble_bind_choices(e->model, e->tokenizer, texts, 3, &memory, &choices));
  CHECK(thimble_choice_count(choices) == 3 && thimble_checkpoints(choices) == 1);
  FINE(thimble_encode(e->tokenizer, " shall we", 9, 0, tokens, 8, &count));
  thimble_reset(e->session);
  FINE(thimble_feed(e->session, tokens, count));
  CHECK(is(thimble_choose(choices, e->session, p), THIMBLE_BAD_ARGUMENT));
  thimble_limits limits = kLimits;
  limits.rewind = 0;
  limits.context = limits.batch = 8;
  limits.checkpoints = thimble_checkpoints(choices);
  if (!FINE(thimble_bind_session(e->model, &limits, NULL, &memory, &session))) return;
  CHECK(is(thimble_choose(choices, session, p), THIMBLE_BAD_ARGUMENT));
  FINE(thimble_feed(session, tokens, count));
  FINE(thimble_choose(choices, session, p));
  const double sum = (double)p[0] + (double)p[1] + (double)p[2];
  CHECK(sum > 1 - 1e-6 && sum < 1 + 1e-6 && p[0] > 0 && p[1] > 0 && p[2] > 0);
  CHECK(thimble_length(session) == count);
  const thimble_error error = thimble_bind_choices(e->model, e->tokenizer, twice, 3, &memory, &choices);
  CHECK(is(error, THIMBLE_BAD_ARGUMENT) && error.at == 2 && choices == NULL);
}

static void test_text(everything *e) {
  const char text[] = "call me <|im_end|>";
  thimble_token tokens[32], plain[32];
  char back[200];
  size_t count = 0, plain_count = 0, bytes = 0;
  FINE(thimble_encode(e->tokenizer, text, sizeof text - 1, 1, tokens, 32, &count));
  FINE(thimble_encode(e->tokenizer, text, sizeof text - 1, 0, plain, 32, &plain_count));
  CHECK(count > 0 && plain_count > count);
  CHECK(thimble_is_end(e->tokenizer, tokens[count - 1]) == 1 && thimble_is_end(e->tokenizer, tokens[0]) == 0);
  FINE(thimble_decode(e->tokenizer, tokens, count, back, sizeof back, &bytes));
  CHECK(bytes == sizeof text - 1 && memcmp(back, text, bytes) == 0);
  thimble_error error = thimble_decode(e->tokenizer, plain, plain_count, back, 3, &bytes);
  CHECK(is(error, THIMBLE_TOO_SMALL) && error.at >= sizeof text - 1 && bytes == 0);
  error = thimble_encode(e->tokenizer, text, sizeof text - 1, 0, tokens, 2, &count);
  CHECK(is(error, THIMBLE_TOO_SMALL) && error.at == plain_count && count == 0);
}

/* What was saved goes on with the same bits, whatever was fed between; so does what was taken back. */
static void test_images(everything *e) {
  static float logits[MAX_VOCAB];
  static const thimble_token kBegun[] = {100, 200, 300}, kMore[] = {5, 6, 7, 8};
  const uint32_t vocab = thimble_vocab(e->model);
  CHECK(vocab <= MAX_VOCAB && thimble_context(e->model) >= 64);
  thimble_reset(e->session);
  CHECK(thimble_logits(e->session) == NULL && thimble_length(e->session) == 0 && thimble_room(e->session) == 64);
  if (!FINE(thimble_feed(e->session, kBegun, 3))) return;
  memcpy(logits, thimble_logits(e->session), vocab * sizeof(float));

  unsigned char *image = block + e->memory.used;
  const size_t bytes = thimble_image_bytes(e->session);
  CHECK(e->memory.used + bytes <= sizeof block);
  thimble_error error = thimble_save(e->session, image, bytes - 1);
  CHECK(is(error, THIMBLE_TOO_SMALL) && error.at == bytes);
  FINE(thimble_save(e->session, image, bytes));

  FINE(thimble_feed(e->session, kMore, 4));
  CHECK(memcmp(logits, thimble_logits(e->session), vocab * sizeof(float)) != 0);
  FINE(thimble_rewind(e->session, 4));
  CHECK(memcmp(logits, thimble_logits(e->session), vocab * sizeof(float)) == 0);
  CHECK(is(thimble_rewind(e->session, 4), THIMBLE_BAD_ARGUMENT));
  FINE(thimble_feed(e->session, kMore, 3));
  FINE(thimble_restore(e->session, image, bytes));
  CHECK(thimble_length(e->session) == 3 && thimble_room(e->session) == 61);
  CHECK(memcmp(logits, thimble_logits(e->session), vocab * sizeof(float)) == 0);

  FINE(thimble_feed(e->session, kMore, 1));
  CHECK(is(thimble_restore(e->session, image, bytes - 1), THIMBLE_BAD_FILE) && thimble_length(e->session) == 4);
  image[0] ^= 1;
  CHECK(!is(thimble_restore(e->session, image, bytes), THIMBLE_OK) && thimble_length(e->session) == 4);
  const thimble_token outside[] = {(thimble_token)vocab};
  CHECK(is(thimble_feed(e->session, outside, 1), THIMBLE_BAD_ARGUMENT));
  while (thimble_room(e->session) > 0) FINE(thimble_feed(e->session, kMore, 1));
  error = thimble_feed(e->session, kMore, 1);
  CHECK(is(error, THIMBLE_FULL) && error.at == 64);
}

static void generate(everything *e, thimble_token *tokens, size_t count) {
  static const thimble_token kPrompt[] = {100, 200, 300};
  thimble_reset(e->session);
  thimble_reset_sampler(e->sampler);
  CHECK(is(thimble_next(e->session, e->sampler, tokens), THIMBLE_BAD_ARGUMENT));
  FINE(thimble_feed(e->session, kPrompt, 3));
  thimble_accept_prompt(e->sampler, kPrompt, 3);
  for (size_t i = 0; i < count; ++i) FINE(thimble_next(e->session, e->sampler, tokens + i));
}

static void test_generation(everything *e) {
  enum { COUNT = 12 };
  thimble_token once[COUNT] = {0}, twice[COUNT] = {0};
  generate(e, once, COUNT);
  generate(e, twice, COUNT);
  CHECK(memcmp(once, twice, sizeof once) == 0);
  CHECK(thimble_length(e->session) == 3 + COUNT);
  bool differ = false;
  for (size_t i = 0; i < COUNT; ++i) {
    CHECK(once[i] >= 0 && (uint32_t)once[i] < thimble_vocab(e->model));
    differ = differ || once[i] != once[0];
  }
  CHECK(differ);
  thimble_memory count = THIMBLE_MEMORY(NULL, 0);
  thimble_sampler *sampler = NULL;
  thimble_sampling s = sampling();
  s.top_p = 1.5f;
  const thimble_error error = thimble_bind_sampler(e->model, NULL, &s, &count, &sampler);
  CHECK(is(error, THIMBLE_BAD_ARGUMENT) && error.name_bytes == 5 && memcmp(error.name, "top_p", 5) == 0);
}

/* Not memcmp: what lies between the members is nobody's. */
static bool same_plan(const thimble_session_plan *a, const thimble_session_plan *b) {
  return a->state == b->state && a->cache == b->cache && a->checkpoints == b->checkpoints && a->history == b->history &&
         a->work == b->work && a->total == b->total;
}

/* Structs of an older and of a newer caller. */
static void test_versions(everything *e) {
  thimble_session_plan plan = {.struct_size = sizeof plan}, other = {.struct_size = sizeof other};
  struct {
    thimble_limits known;
    uint32_t newer[2];
  } wide = {THIMBLE_LIMITS, {0, 0}};
  CHECK(thimble_version() == THIMBLE_VERSION);
  FINE(thimble_plan(e->model, NULL, NULL, &plan));
  wide.known.struct_size = sizeof wide;
  FINE(thimble_plan(e->model, &wide.known, NULL, &other));
  CHECK(same_plan(&plan, &other));
  wide.newer[1] = 1;
  CHECK(is(thimble_plan(e->model, &wide.known, NULL, &other), THIMBLE_UNSUPPORTED));

  thimble_limits old = THIMBLE_LIMITS; /* knew no more than context and batch */
  old.struct_size = offsetof(thimble_limits, k);
  old.context = 100;
  old.k = old.v = 12345;
  old.checkpoints = 1000;
  thimble_limits full = THIMBLE_LIMITS;
  full.context = 100;
  FINE(thimble_plan(e->model, &old, NULL, &plan));
  FINE(thimble_plan(e->model, &full, NULL, &other));
  CHECK(same_plan(&plan, &other));
  const uint32_t wrong[] = {0, 3, offsetof(thimble_limits, k) + 2, 1u << 20};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    full.struct_size = wrong[i];
    CHECK(is(thimble_plan(e->model, &full, NULL, &other), THIMBLE_BAD_ARGUMENT));
  }
  full = (thimble_limits)THIMBLE_LIMITS;
  full.state = 2;
  CHECK(is(thimble_plan(e->model, &full, NULL, &other), THIMBLE_BAD_ARGUMENT));

  thimble_backend backend = THIMBLE_BACKEND;
  backend.workers = 2;
  CHECK(is(thimble_plan(e->model, NULL, &backend, &other), THIMBLE_BAD_ARGUMENT));
  struct {
    thimble_session_plan known;
    size_t newer;
  } wide_plan = {{.struct_size = sizeof wide_plan}, 99};
  FINE(thimble_plan(e->model, NULL, NULL, &wide_plan.known));
  CHECK(wide_plan.newer == 0 && wide_plan.known.struct_size == sizeof wide_plan);
  thimble_session_plan narrow = {.struct_size = offsetof(thimble_session_plan, work), .work = 77};
  FINE(thimble_plan(e->model, NULL, NULL, &narrow));
  CHECK(narrow.work == 77 && narrow.history == 0 && narrow.cache == wide_plan.known.cache);
}

/* A file that ends early, or is none, is refused with words. */
static void test_hostile(const void *file, size_t bytes) {
  thimble_model *model = NULL;
  char text[160];
  const size_t ends[] = {0, 3, 4, 24, 1000, 40000, bytes / 2, bytes - 1};
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; ++i) {
    thimble_memory memory = THIMBLE_MEMORY(block, sizeof block);
    const thimble_error error = thimble_open(file, ends[i], &memory, &model);
    CHECK(is(error, THIMBLE_BAD_FILE) && model == NULL && memory.used == 0);
    const size_t length = thimble_error_text(&error, text, sizeof text);
    CHECK(length >= strlen(error.what) && length < sizeof text && strlen(text) == length);
    CHECK(thimble_error_text(&error, text, 10) == 9 && strlen(text) == 9);
    CHECK(thimble_error_text(&error, text, 1) == 0 && text[0] == '\0');
  }
}

int main(void) {
  size_t bytes = 0;
  const void *file = intent_model(&bytes);
  if (file == NULL) {
    say("no model\n");
    return 1;
  }
  everything e = {.memory = THIMBLE_MEMORY(block, sizeof block)};
  test_hostile(file, bytes);
  test_memory(file, bytes, &e);
  if (e.task != NULL) {
    test_classify(&e);
    test_kernels(&e);
    test_own_choices(&e);
    test_text(&e);
    test_images(&e);
    test_generation(&e);
    test_versions(&e);
  }
  say(failed ? "failed\n" : "passed; ");
  if (!failed) {
    say_number(e.memory.needed);
    say(" bytes for all objects\n");
  }
  return failed;
}
