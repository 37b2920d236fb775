// SPDX-License-Identifier: Apache-2.0
//
// A sentence a line over the serial port; back comes what it wants, and how probable that is. The model stays in flash;
// beside it the program takes 100 KB of flash and as much RAM, stack included.
#include <Thimble.h>

#include "model.h"  // kModel: a pack as bytes

const size_t kText = 128;  // bytes of the longest sentence

alignas(THIMBLE_ALIGN) unsigned char memory[80 * 1024];
float p[256];  // this model has 151 answers
thimble_choices *choices;
thimble_task *task;

bool failed(const thimble_error &error) {
  char text[160];
  if (!error.status) return false;
  thimble_error_text(&error, text, sizeof text);
  Serial.println(text);
  return true;
}

void setup() {
  Serial.begin(115200);
  while (!Serial) {
  }
  thimble_memory m = THIMBLE_MEMORY(memory, sizeof memory);
  thimble_limits limits = THIMBLE_LIMITS;
  limits.context = 64;
  limits.batch = 2;
  limits.k = limits.v = THIMBLE_Q8_0;
  limits.state = THIMBLE_STATE_I16;
  thimble_backend backend = THIMBLE_BACKEND;
  backend.kernels = thimble_fast_kernels();
  thimble_model *model;
  thimble_tokenizer *tokenizer;
  thimble_session *session;
  if (failed(thimble_open(kModel, sizeof kModel, &m, &model)) ||
      failed(thimble_bind_indexed_tokenizer(model, kText + 32, &m, &tokenizer)) ||
      failed(thimble_bind_choices(model, tokenizer, NULL, 0, &m, &choices)) ||
      failed(thimble_bind_session(model, &limits, &backend, &m, &session)) ||
      failed(thimble_bind_task(model, tokenizer, session, NULL, &m, &task))) {
    while (true) {
    }
  }
}

void loop() {
  char text[kText];
  size_t bytes = Serial.readBytesUntil('\n', text, sizeof text);
  if (bytes == 0 || failed(thimble_classify(task, choices, text, bytes, p))) return;
  size_t best = 0;
  for (size_t i = 1; i < thimble_choice_count(choices); ++i) best = p[i] > p[best] ? i : best;
  const char *label = thimble_label(task, best, &bytes);
  Serial.write(label, bytes);
  Serial.print(" ");
  Serial.println(p[best], 3);
}
