# SPDX-License-Identifier: Apache-2.0
#
# Cortex-M7 with its double-precision unit, on Arm's MPS2 board AN500.
set(THIMBLE_CPU "-mcpu=cortex-m7 -mfpu=fpv5-d16 -mfloat-abi=hard")
set(THIMBLE_MACHINE mps2-an500)
set(THIMBLE_MEMORY ${CMAKE_CURRENT_LIST_DIR}/cortex-m/mps2.ld)
set(THIMBLE_MHZ 25)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
