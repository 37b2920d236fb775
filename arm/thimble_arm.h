/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast kernels for users of the C functions (io/thimble.h): one pointer for thimble_backend.kernels. Threads are
 * the caller's affair there. */
#ifndef THIMBLE_ARM_H_
#define THIMBLE_ARM_H_

#ifdef __cplusplus
extern "C" {
#endif

typedef struct thimble_kernels thimble_kernels; /* NOLINT(readability-identifier-naming) */

/* The best kernels for the processor that this runs on, good for as long as the program is. The first call asks the
 * system which one it is, and may allocate there; thereafter from any thread. Never NULL: where nothing faster may run,
 * or what there is does not compute what it should, the portable ones. */
const thimble_kernels* thimble_fast_kernels(void);

#ifdef __cplusplus
}
#endif
#endif
