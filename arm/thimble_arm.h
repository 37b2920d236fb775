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

/* The best kernels for the processor that this runs on, good for as long as the program is; the portable ones where
 * there are no faster, or where these do not compute what they should. Under an operating system the first call asks it
 * which processor that is, which may allocate; on a board the compiler has decided. */
const thimble_kernels* thimble_fast_kernels(void);

#ifdef __cplusplus
}
#endif
#endif
