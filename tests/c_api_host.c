/* SPDX-License-Identifier: Apache-2.0
 *
 * What c_api_test.c asks of the machine that it runs on: a place to write to, and the model. */
#include <stdalign.h>
#include <stdio.h>

#include "io/thimble.h"

void say(const char *text);
const void *intent_model(size_t *bytes);

void say(const char *text) { fputs(text, stdout); }

const void *intent_model(size_t *bytes) {
  static alignas(THIMBLE_ALIGN) unsigned char model[1 << 20];
  FILE *file = fopen(THIMBLE_SOURCE_DIR "/examples/intent/intent-q4_0.gguf", "rb");
  if (file == NULL) return NULL;
  *bytes = fread(model, 1, sizeof model, file);
  fclose(file);
  return model;
}
