/* Written by `thimble plan MODEL --header`: what a firmware takes that chooses with this model. */
/* clang-format off */
#pragma once

#define THIMBLE_PLAN_MODEL_BYTES    412608  /* of the file */
#define THIMBLE_PLAN_TEXT              256  /* bytes of the longest text */
#define THIMBLE_PLAN_PROMPT             17  /* bytes of the question around it */
#define THIMBLE_PLAN_CHOICES           151  /* answers */
#define THIMBLE_PLAN_CONTEXT            64  /* tokens */
#define THIMBLE_PLAN_BATCH               2  /* tokens */
#define THIMBLE_PLAN_K                   8  /* Q8_0 */
#define THIMBLE_PLAN_V                   8  /* Q8_0 */
#define THIMBLE_PLAN_STATE               1  /* 16 bits */
#define THIMBLE_PLAN_WINDOW              0  /* tokens; 0: the whole context */
#define THIMBLE_PLAN_SINKS               4  /* tokens, with a window */
#define THIMBLE_PLAN_BYTES           53632  /* of the arena, at most: pointers of 32 bits take less */
