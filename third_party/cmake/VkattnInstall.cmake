# cmake --install: the libraries, the public headers, a CMake package and a pkg-config file. tests/consumer uses both.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(installed_targets vkattn vkattn_warnings)
set(vkattn_pc_libraries "")
foreach(room compiler engine shaders masks) # in the order in which static libraries need each other
  if(TARGET vkattn_${room})
    list(APPEND installed_targets vkattn_${room})
    set_target_properties(vkattn_${room} PROPERTIES EXPORT_NAME ${room})
    get_target_property(type vkattn_${room} TYPE)
    if(type MATCHES "STATIC|SHARED")
      string(APPEND vkattn_pc_libraries " -lvkattn_${room}")
    endif()
  endif()
endforeach()
install(TARGETS ${installed_targets} EXPORT vkattn-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  OBJECTS DESTINATION ${CMAKE_INSTALL_LIBDIR}/vkattn)
install(EXPORT vkattn-targets NAMESPACE vkattn:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkattn)
foreach(room masks engine engine/compiler)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} OPTIONAL)
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/vkattnConfig.cmake.in ${PROJECT_BINARY_DIR}/vkattnConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkattn)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vkattnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vkattnConfig.cmake ${PROJECT_BINARY_DIR}/vkattnConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/VkattnDependencies.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkattn)

set(vkattn_pc_cflags "")
set(vkattn_pc_private_libraries "")
if(TARGET vkattn_compiler)
  if(vkattn_private_libs)
    set(vkattn_pc_private_libraries " -L${vkattn_private_libs} -lshaderc -Wl,--allow-shlib-undefined")
  else()
    set(vkattn_pc_private_libraries " ${VKATTN_SHADERC__SHADERC_LIBRARY}")
  endif()
endif()
file(RELATIVE_PATH vkattn_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
if(vkattn_private_libs)
  set(vkattn_pc_cflags " -isystem ${VKATTN_VULKAN__HEADERS_INCLUDE}")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/vkattn.pc.in ${PROJECT_BINARY_DIR}/vkattn.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/vkattn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
