// SPDX-License-Identifier: Apache-2.0
//
// What Zephyr makes of the compiler's integers on every architecture (CONFIG_ENFORCE_ZEPHYR_STDINT): 32 bits are an
// int, also where the compiler takes a long.
#undef __INT32_TYPE__
#undef __UINT32_TYPE__
#undef __INT_LEAST32_TYPE__
#undef __UINT_LEAST32_TYPE__
#undef __INT_FAST32_TYPE__
#undef __UINT_FAST32_TYPE__
#define __INT32_TYPE__ int
#define __UINT32_TYPE__ unsigned int
#define __INT_LEAST32_TYPE__ int
#define __UINT_LEAST32_TYPE__ unsigned int
#define __INT_FAST32_TYPE__ int
#define __UINT_FAST32_TYPE__ unsigned int
