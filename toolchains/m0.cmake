# SPDX-License-Identifier: Apache-2.0
#
# Code of a Cortex-M0+, soft float, on Arm's MPS2 board AN385: its M3 runs that, with the memory that an M0+ part lacks.
set(THIMBLE_CPU "-mcpu=cortex-m0plus -mfloat-abi=soft")
set(THIMBLE_MACHINE mps2-an385)
set(THIMBLE_MEMORY ${CMAKE_CURRENT_LIST_DIR}/cortex-m/mps2.ld)
set(THIMBLE_MHZ 25)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
