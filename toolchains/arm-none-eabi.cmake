# SPDX-License-Identifier: Apache-2.0
#
# What every Cortex-M has in common. A board's file sets THIMBLE_CPU, its compiler flags, and includes this.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_CXX_FLAGS_INIT "${THIMBLE_CPU} -mthumb -masm-syntax-unified -ffunction-sections -fdata-sections \
-fno-threadsafe-statics -fno-use-cxa-atexit -fno-unwind-tables -fno-asynchronous-unwind-tables")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "-O3 only makes the plain loops longer")
