# SPDX-License-Identifier: Apache-2.0
#
# The libraries behind thimble::arm, as imported targets: XNNPACK's micro-kernels (static), pthreadpool and cpuinfo. Read
# by our own build and by the installed package; THIMBLE_LIBRARY_HINTS lists the directories to look in before the system's.
foreach(_thimble_library microkernels-prod pthreadpool cpuinfo)
  find_library(THIMBLE_${_thimble_library}_LIBRARY ${_thimble_library} HINTS ${THIMBLE_LIBRARY_HINTS})
  mark_as_advanced(THIMBLE_${_thimble_library}_LIBRARY)
  if(NOT THIMBLE_${_thimble_library}_LIBRARY)
    message(FATAL_ERROR "lib${_thimble_library} is missing: on Debian 13 install libxnnpack-dev, libpthreadpool-dev and "
                        "libcpuinfo-dev; in Thimble's own tree toolchains/setup.sh does that")
  endif()
  if(NOT TARGET thimble::${_thimble_library})
    add_library(thimble::${_thimble_library} UNKNOWN IMPORTED)
    set_target_properties(thimble::${_thimble_library} PROPERTIES
                          IMPORTED_LOCATION "${THIMBLE_${_thimble_library}_LIBRARY}")
  endif()
endforeach()
unset(_thimble_library)
