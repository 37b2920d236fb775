# SPDX-License-Identifier: Apache-2.0
#
# Cortex-M4F, on Arm's MPS2 board AN386.
set(THIMBLE_CPU "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard")
set(THIMBLE_MACHINE mps2-an386)
set(THIMBLE_MEMORY ${CMAKE_CURRENT_LIST_DIR}/cortex-m/mps2.ld)
set(THIMBLE_MHZ 25)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
