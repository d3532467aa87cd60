# SPDX-License-Identifier: MIT
# What `cmake --install` puts in place for programs: the libraries, the headers, the pkg-config files and the
# CMake package. The manual pages are installed by docs.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/libipq)

# Two exports, as a package manager may install the C library alone.
install(TARGETS ipq_shared ipq_static EXPORT libipq
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS ipq_cpp EXPORT libipq++ ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/libipq/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY include/ipq/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ipq FILES_MATCHING PATTERN "*.hpp")

# Relative to the file itself, so that an installation can be moved as a whole.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(pc_libdir ${CMAKE_INSTALL_FULL_LIBDIR})
  set(pc_includedir ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" up ${up})
  set(pc_prefix "\${pcfiledir}/${up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
foreach(name libipq libipq++)
  configure_file(cmake/${name}.pc.in ${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

configure_package_config_file(cmake/libipq-config.cmake.in libipq-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(libipq-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/libipq-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/libipq-config-version.cmake
        DESTINATION ${package_dir})
install(EXPORT libipq NAMESPACE ipq:: FILE libipq-targets.cmake DESTINATION ${package_dir})
install(EXPORT libipq++ NAMESPACE ipq:: FILE libipq++-targets.cmake DESTINATION ${package_dir})
