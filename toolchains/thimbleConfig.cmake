# SPDX-License-Identifier: Apache-2.0
#
# find_package(thimble): targets thimble::quant, thimble::core, thimble::io and, for a hosted build, thimble::arm, whose own
# libraries are looked for first beside these and then in the system.
set(THIMBLE_LIBRARY_HINTS ${CMAKE_CURRENT_LIST_DIR}/../../thimble)
include(${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake OPTIONAL)
include(${CMAKE_CURRENT_LIST_DIR}/thimbleTargets.cmake)
