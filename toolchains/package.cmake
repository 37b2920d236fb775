# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install` adds to the libraries and headers: the files for find_package and pkg-config and, where the
# dependency is an unpacked one that no user of the package could find, that too, in lib/thimble.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/thimble)
install(EXPORT thimble NAMESPACE thimble:: FILE thimbleTargets.cmake DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/thimbleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES LICENSE THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES toolchains/thimbleConfig.cmake ${PROJECT_BINARY_DIR}/thimbleConfigVersion.cmake DESTINATION ${package_dir})
if(NOT THIMBLE_HOSTED)
  return()
endif()

install(FILES toolchains/dependencies.cmake DESTINATION ${package_dir})
set(thimble_bundled_flags "")
cmake_path(IS_PREFIX THIMBLE_DEPS ${THIMBLE_cpuinfo_LIBRARY} NORMALIZE bundled)
if(bundled)
  set(thimble_bundled_flags "-L\${libdir}/thimble -Wl,-rpath,\${libdir}/thimble")
  file(REAL_PATH ${THIMBLE_cpuinfo_LIBRARY} target)
  install(FILES ${THIMBLE_cpuinfo_LIBRARY} ${target} DESTINATION ${CMAKE_INSTALL_LIBDIR}/thimble)
  install(FILES ${THIMBLE_DEPS}/usr/share/doc/libcpuinfo0/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR}/libcpuinfo0)
endif()

cmake_path(SET thimble_relative_include ${THIMBLE_INCLUDE_DIR})
cmake_path(RELATIVE_PATH thimble_relative_include BASE_DIRECTORY ${CMAKE_INSTALL_LIBDIR})
cmake_path(SET thimble_relative_c_include ${CMAKE_INSTALL_INCLUDEDIR})
cmake_path(RELATIVE_PATH thimble_relative_c_include BASE_DIRECTORY ${CMAKE_INSTALL_LIBDIR})
foreach(name thimble thimble-c)
  configure_file(toolchains/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
