/* SPDX-License-Identifier: Apache-2.0
 *
 * The other installed header, in C: the kernels must link with a C linker too. */
#include <thimble/thimble.h>
#include <thimble/thimble_arm.h>

thimble_backend fast(void);

thimble_backend fast(void) {
  thimble_backend backend = THIMBLE_BACKEND;
  backend.kernels = thimble_fast_kernels();
  return backend;
}
