# SPDX-License-Identifier: Apache-2.0
#
# cmake -DTO=DIRECTORY -P library.cmake: lays the sources out as an Arduino library, DIRECTORY/Thimble, with the example and
# its model as an array. Arduino compiles what lies below src/ and knows no .cc; what is copied, the rooms' CMakeLists.txt
# say, as for any board.
cmake_minimum_required(VERSION 3.22)
get_filename_component(root ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
get_filename_component(library ${TO}/Thimble ABSOLUTE)
set(THIMBLE_HOSTED OFF)
file(REMOVE_RECURSE ${library})

# A file of the rooms, and what it includes.
function(copy file)
  string(REGEX REPLACE "\\.cc$" ".cpp" copied ${library}/src/${file})
  if(EXISTS ${copied})
    return()
  endif()
  configure_file(${root}/${file} ${copied} COPYONLY)
  file(STRINGS ${root}/${file} lines REGEX "^#include \"")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^#include \"([^\"]*)\".*" "\\1" included ${line})
    copy(${included})
  endforeach()
endfunction()

# The commands of the rooms' CMakeLists.txt, which a script has not or which mean something else to it.
function(thimble_room name)
  cmake_parse_arguments(PARSE_ARGV 1 room "" "" "SOURCES;HEADERS")
  foreach(source IN LISTS room_SOURCES)
    copy(${name}/${source})
  endforeach()
endfunction()
foreach(command target_link_libraries set_source_files_properties thimble_c_header)
  function(${command})
  endfunction()
endforeach()
foreach(room quant core io arm)
  include(${root}/${room}/CMakeLists.txt)
endforeach()

file(STRINGS ${root}/CMakeLists.txt line REGEX "^project\\(")
string(REGEX REPLACE ".* VERSION ([0-9.]*).*" "\\1" THIMBLE_VERSION ${line})
configure_file(${CMAKE_CURRENT_LIST_DIR}/library.properties ${library}/library.properties @ONLY)
configure_file(${CMAKE_CURRENT_LIST_DIR}/Thimble.h ${library}/src/Thimble.h COPYONLY)
configure_file(${root}/LICENSE ${library}/LICENSE COPYONLY)
file(COPY ${root}/examples/arduino/ DESTINATION ${library}/examples)
file(READ ${root}/examples/firmware/intent.thimble bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes ${bytes})
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes ${bytes})
file(WRITE ${library}/examples/Classify/model.h "alignas(64) const unsigned char kModel[] = {\n${bytes}\n};\n")
