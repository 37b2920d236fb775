# SPDX-License-Identifier: Apache-2.0
#
# A stranger's toolchain file: a Cortex-M4F, nothing of Thimble's.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_CXX_FLAGS_INIT
    "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard -mthumb -ffunction-sections -fdata-sections -fno-exceptions")
set(CMAKE_CXX_FLAGS_MINSIZEREL "-Os" CACHE STRING "")
