# SPDX-License-Identifier: Apache-2.0
#
# Cortex-M55 with Helium, on Arm's MPS3 board AN547. Without its double-precision unit: GCC 12 writes conditional
# conversions (vcvtne.f64.f32) that its assembler takes for a Helium instruction and refuses. Doubles are rare here, and
# their bits the same in software.
set(THIMBLE_CPU "-march=armv8.1-m.main+dsp+mve.fp -mtune=cortex-m55 -mfloat-abi=hard")
set(THIMBLE_MACHINE mps3-an547)
set(THIMBLE_MEMORY ${CMAKE_CURRENT_LIST_DIR}/cortex-m/an547.ld)
set(THIMBLE_MHZ 32)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
