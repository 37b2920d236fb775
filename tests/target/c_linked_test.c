/* SPDX-License-Identifier: Apache-2.0
 *
 * A firmware in C whose model is linked: bound once for the plan and once for good, then asked. Three lines of
 * tests/data/intent/s_sentences.tsv, with what Hugging Face says of them. */
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arm/thimble_arm.h"
#include "io/thimble.h"
#include "toolchains/cortex-m/board.h"

int main(void);

static const struct {
  const char *text;
  const char *label;
  double p;
} kSamples[] = {
    {"how would you say fly in italian", "translate", 0.963153},
    {"What's the spanish word for pasta?", "translate", 0.837823},
    {"Set a 2 minute timer.", "timer", 0.946536},
};
enum { SAMPLES = sizeof kSamples / sizeof kSamples[0], CHOICES = 151, MAX_TEXT = 160 };

static alignas(THIMBLE_ALIGN) unsigned char block[96 * 1024];
static int failed;

static void check(bool good, const char *what) {
  if (good) return;
  failed = 1;
  board_write("not so: ", 8);
  board_write(what, strlen(what));
  board_write("\n", 1);
}
#define CHECK(condition) check(condition, #condition)

/* Whether there is no error; tells of one. */
static bool fine(thimble_error error) {
  char text[160];
  if (error.status == THIMBLE_OK) return true;
  thimble_error_text(&error, text, sizeof text);
  check(false, text);
  return false;
}

typedef struct {
  thimble_memory memory;
  thimble_model *model;
  thimble_tokenizer *tokenizer;
  thimble_choices *choices;
  thimble_session *session;
  thimble_task *task;
} everything;

/* In `block` or, to count, in no memory; there is then no object to bind the next one of, but the real ones will do. */
static thimble_error bind_all(everything *e, const everything *real) {
  thimble_limits limits = THIMBLE_LIMITS;
  thimble_backend backend = THIMBLE_BACKEND;
  const size_t bytes = (size_t)(board_model_end - board_model);
  limits.context = 64;
  limits.batch = 2;
  limits.k = limits.v = THIMBLE_Q8_0;
  limits.state = THIMBLE_STATE_I16;
  backend.kernels = thimble_fast_kernels();
  thimble_error error = thimble_open_linked(thimble_linked_model(), board_model, bytes, &e->memory, &e->model);
  if (error.status == 0) error = thimble_bind_linked_tokenizer(real->model, MAX_TEXT, &e->memory, &e->tokenizer);
  if (error.status == 0) {
    error = thimble_bind_choices(real->model, real->tokenizer, NULL, 0, &e->memory, &e->choices);
  }
  if (error.status == 0) error = thimble_bind_session(real->model, &limits, &backend, &e->memory, &e->session);
  if (error.status == 0) {
    error = thimble_bind_task(real->model, real->tokenizer, real->session, NULL, &e->memory, &e->task);
  }
  return error;
}

static void test_classify(const everything *e) {
  static float p[CHOICES];
  CHECK(thimble_choice_count(e->choices) == CHOICES);
  for (size_t i = 0; i < SAMPLES; ++i) {
    if (!fine(thimble_classify(e->task, e->choices, kSamples[i].text, strlen(kSamples[i].text), p))) continue;
    size_t best = 0, bytes = 0;
    for (size_t c = 0; c < CHOICES; ++c) best = p[c] > p[best] ? c : best;
    const char *label = thimble_label(e->task, best, &bytes);
    CHECK(bytes == strlen(kSamples[i].label) && memcmp(label, kSamples[i].label, bytes) == 0);
    const double off = (double)p[best] - kSamples[i].p;
    CHECK(off < 0.02 && off > -0.02);
  }
  const char cyrillic[] = "\xd0\xb4\xd0\xb0";
  const thimble_error error = thimble_classify(e->task, e->choices, cyrillic, sizeof cyrillic - 1, p);
  CHECK(error.status == THIMBLE_UNSUPPORTED);
}

/* Bytes that the source was not written from. */
static void test_other_bytes(void) {
  const thimble_linked *linked = thimble_linked_model();
  const size_t bytes = (size_t)(board_model_end - board_model);
  thimble_memory memory = THIMBLE_MEMORY(block, sizeof block);
  thimble_model *model = NULL;
  CHECK(thimble_open_linked(linked, board_model, bytes - 1, &memory, &model).status == THIMBLE_BAD_FILE);
  CHECK(thimble_open_linked(linked, board_model + 1, bytes, &memory, &model).status == THIMBLE_BAD_FILE);
  CHECK(thimble_open_linked(NULL, board_model, bytes, &memory, &model).status == THIMBLE_BAD_ARGUMENT);
  CHECK(model == NULL && memory.used == 0);
}

int main(void) {
  test_other_bytes();
  everything e = {.memory = THIMBLE_MEMORY(block, sizeof block)};
  if (fine(bind_all(&e, &e))) {
    everything counted = {.memory = THIMBLE_MEMORY(NULL, 0)};
    CHECK(fine(bind_all(&counted, &e)) && counted.memory.needed == e.memory.needed);
    test_classify(&e);
  }
  if (!failed) board_write("passed\n", 7);
  return failed;
}
