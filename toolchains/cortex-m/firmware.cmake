# SPDX-License-Identifier: Apache-2.0
#
# How a program for a Cortex-M board is linked, and how CTest runs it. No libstdc++, no nosys, no symbol `end`: what needs a
# heap, an exception or a system call does not link. libc and libm give mem* and sqrtf.
set(THIMBLE_BOARD_DIR ${CMAKE_CURRENT_LIST_DIR})
add_compile_options(-fcallgraph-info=su)  # for tests/walls/stack.sh
set(THIMBLE_LINK -nostartfiles -nodefaultlibs -L${THIMBLE_BOARD_DIR} -T${THIMBLE_MEMORY}
    -Wl,--gc-sections,--fatal-warnings)
if(NOT THIMBLE_PORT)
  set(THIMBLE_PORT ${THIMBLE_BOARD_DIR}/semihosting.c ${THIMBLE_BOARD_DIR}/systick.c)
endif()
add_library(thimble_board OBJECT ${THIMBLE_BOARD_DIR}/startup.c ${THIMBLE_PORT})
target_include_directories(thimble_board PUBLIC ${PROJECT_SOURCE_DIR} ${THIMBLE_BOARD_DIR})
target_compile_definitions(thimble_board PRIVATE BOARD_MHZ=${THIMBLE_MHZ})
target_link_options(thimble_board INTERFACE ${THIMBLE_LINK})

# thimble_firmware(NAME SOURCES file... [MODEL file] [STACK bytes] [LIBRARIES target...])
function(thimble_firmware name)
  cmake_parse_arguments(PARSE_ARGV 1 firmware "" "MODEL;STACK" "SOURCES;LIBRARIES")
  if(NOT firmware_STACK)
    set(firmware_STACK 8192)
  endif()
  set(board_dir ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  add_executable(${name} ${firmware_SOURCES})
  set_target_properties(${name} PROPERTIES SUFFIX .elf)
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti>)
  target_link_libraries(${name} PRIVATE thimble_board ${firmware_LIBRARIES})
  target_link_options(${name} PRIVATE -Wl,--print-memory-usage -Wl,--defsym=__stack_bytes=${firmware_STACK})
  set_target_properties(${name} PROPERTIES LINK_DEPENDS "${THIMBLE_MEMORY};${board_dir}/sections.ld")
  if(firmware_MODEL)
    add_library(${name}_model OBJECT ${board_dir}/model.c)
    target_compile_definitions(${name}_model PRIVATE BOARD_MODEL_FILE="${firmware_MODEL}")
    # Of the source, so every one's model: one that changes has all of them read again.
    set_property(SOURCE ${board_dir}/model.c APPEND PROPERTY OBJECT_DEPENDS ${firmware_MODEL})
    target_link_libraries(${name} PRIVATE ${name}_model)
  endif()
endfunction()

# `cmake --preset BOARD && ctest --preset BOARD` builds first: every test here requires this one.
add_test(NAME build COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR})
set_tests_properties(build PROPERTIES FIXTURES_SETUP build TIMEOUT 900)

# thimble_firmware_test(NAME ...): a firmware that CTest runs under QEMU; exit code 0 passes.
function(thimble_firmware_test name)
  thimble_firmware(${name} ${ARGN})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS target FIXTURES_REQUIRED build TIMEOUT 900)
endfunction()
