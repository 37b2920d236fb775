# SPDX-License-Identifier: Apache-2.0
#
# ESP-IDF's first pass: a script, in which most commands of CMake do not exist, asks the component what it requires.
macro(idf_component_register)
  set(registered 1)
  return()
endmacro()

function(ask)
  include(${THIMBLE}/CMakeLists.txt)
  if(NOT registered)
    message(FATAL_ERROR "the component has not registered")
  endif()
endfunction()
ask()
