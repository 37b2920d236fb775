# SPDX-License-Identifier: Apache-2.0
#
# What every Cortex-M board has in common. A board's file sets, and then includes this:
#   THIMBLE_CPU      the compiler's flags for its core
#   THIMBLE_MEMORY   its linker script: the memory map
#   THIMBLE_MACHINE  QEMU's name for it
#   THIMBLE_MHZ      the clock of its SysTick under QEMU
#   THIMBLE_PORT     optional: the C files that stand in for semihosting.c and systick.c
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_FLAGS_INIT "${THIMBLE_CPU} -mthumb -masm-syntax-unified -ffunction-sections -fdata-sections")
set(CMAKE_CXX_FLAGS_INIT "${THIMBLE_CPU} -mthumb -masm-syntax-unified -ffunction-sections -fdata-sections \
-fno-threadsafe-statics -fno-use-cxa-atexit -fno-unwind-tables -fno-asynchronous-unwind-tables -Wno-psabi")
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "Like C++")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "-O3 only makes the plain loops longer")
# At the end of every link: no libstdc++. libc and libm give mem* and sqrtf.
set(CMAKE_C_STANDARD_LIBRARIES_INIT "-Wl,--start-group -lm -lc -lgcc -Wl,--end-group")
set(CMAKE_CXX_STANDARD_LIBRARIES_INIT ${CMAKE_C_STANDARD_LIBRARIES_INIT})
set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/cortex-m/run.sh ${THIMBLE_MACHINE})
