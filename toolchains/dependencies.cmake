# SPDX-License-Identifier: Apache-2.0
#
# What thimble::arm links: threads, and cpuinfo as an imported target. Read by our own build and by the installed package;
# THIMBLE_LIBRARY_HINTS lists the directories to look in before the system's.
find_package(Threads REQUIRED)
find_library(THIMBLE_cpuinfo_LIBRARY cpuinfo HINTS ${THIMBLE_LIBRARY_HINTS})
mark_as_advanced(THIMBLE_cpuinfo_LIBRARY)
if(NOT THIMBLE_cpuinfo_LIBRARY)
  message(FATAL_ERROR "libcpuinfo is missing: on Debian 13 install libcpuinfo-dev; in Thimble's own tree "
                      "toolchains/setup.sh does that")
endif()
if(NOT TARGET thimble::cpuinfo)
  add_library(thimble::cpuinfo UNKNOWN IMPORTED)
  set_target_properties(thimble::cpuinfo PROPERTIES IMPORTED_LOCATION "${THIMBLE_cpuinfo_LIBRARY}")
endif()
