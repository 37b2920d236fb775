# SPDX-License-Identifier: Apache-2.0
#
# STM32F405, a Cortex-M4F with 1 MB of flash and 128 KB of RAM, on QEMU's netduinoplus2.
set(THIMBLE_CPU "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard")
set(THIMBLE_MACHINE netduinoplus2)
set(THIMBLE_MEMORY ${CMAKE_CURRENT_LIST_DIR}/cortex-m/stm32f405.ld)
set(THIMBLE_MHZ 168)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
