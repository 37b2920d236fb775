/* SPDX-License-Identifier: Apache-2.0
 *
 * What c_api_test.c asks of the machine that it runs on, where that is a board with the model in its flash. */
#include <string.h>

#include "io/thimble.h"
#include "toolchains/cortex-m/board.h"

void say(const char* text);
const void* intent_model(size_t* bytes);

void say(const char* text) { board_write(text, strlen(text)); }

const void* intent_model(size_t* bytes) {
  *bytes = (size_t)(board_model_end - board_model);
  return board_model;
}
