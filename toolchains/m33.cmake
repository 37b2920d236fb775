# SPDX-License-Identifier: Apache-2.0
#
# Cortex-M33 with FPU and DSP, on Arm's MPS2 board AN505. What stays in its Secure state is all there is.
set(THIMBLE_CPU "-mcpu=cortex-m33 -mfpu=fpv5-sp-d16 -mfloat-abi=hard")
set(THIMBLE_MACHINE mps2-an505)
set(THIMBLE_MEMORY ${CMAKE_CURRENT_LIST_DIR}/cortex-m/an505.ld)
set(THIMBLE_MHZ 20)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
