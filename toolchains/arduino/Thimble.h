/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sketch includes: the functions for C. Those of C++ are there too, by the names of the rooms
 * ("core/session.h"). */
#ifndef THIMBLE_ARDUINO_H_
#define THIMBLE_ARDUINO_H_

#if defined(__cplusplus) && __cplusplus < 202002L
#error "Thimble needs C++20: arduino-cli compile --build-property compiler.cpp.extra_flags=-std=gnu++20"
#endif

#include "arm/thimble_arm.h"
#include "io/thimble.h"

#endif
