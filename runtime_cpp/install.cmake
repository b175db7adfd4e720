# libedgec.so, the installed package and find_package(edgec). Not part of the Python wheel.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(edgec_shared SHARED $<TARGET_OBJECTS:edgec_objects>)
target_include_directories(edgec_shared PUBLIC
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(edgec_shared PRIVATE Threads::Threads)
# SOVERSION 1: edgec_abi_version() only grows, so that every library of this name can replace an older one.
set_target_properties(edgec_shared PROPERTIES OUTPUT_NAME edgec EXPORT_NAME shared VERSION ${PROJECT_VERSION} SOVERSION 1)
if(CMAKE_SYSTEM_NAME MATCHES "Linux|Android|FreeBSD")
  target_link_options(edgec_shared PRIVATE
    -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/edgec.map -Wl,--gc-sections -Wl,--as-needed)
  # Sanitizers leave symbols of their run-time to the executable.
  if(NOT EDGEC_SANITIZE)
    target_link_options(edgec_shared PRIVATE -Wl,--no-undefined)
  endif()
  set_target_properties(edgec_shared PROPERTIES LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/edgec.map)
elseif(APPLE)
  target_link_options(edgec_shared PRIVATE -Wl,-dead_strip)
endif()

set_target_properties(edgec_static PROPERTIES EXPORT_NAME static)
target_include_directories(edgec_static INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

set(edgec_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/edgec)
install(TARGETS edgec_shared edgec_static EXPORT edgecTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(DIRECTORY include/edgec DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(EXPORT edgecTargets NAMESPACE edgec:: DESTINATION ${edgec_cmake_dir} COMPONENT development)
configure_package_config_file(edgecConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/edgecConfig.cmake
  INSTALL_DESTINATION ${edgec_cmake_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/edgecConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/edgecConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/edgecConfigVersion.cmake
  DESTINATION ${edgec_cmake_dir} COMPONENT development)
