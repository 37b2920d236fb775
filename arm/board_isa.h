// SPDX-License-Identifier: Apache-2.0
//
// Which kernels a board has, by what the compiler says of its core. All of their files are compiled for every core, by
// whatever builds them; a file whose instructions the core lacks is empty.
#pragma once

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FP) && (__ARM_FP & 4)
#define THIMBLE_DSP
#endif

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define THIMBLE_MVE
#endif
