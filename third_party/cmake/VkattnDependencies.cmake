# Imported targets for what third_party/install.sh brings, from its private folder (VKATTN_DEPS) or else from the system.
#
#   vkattn_dependencies(Vulkan::Headers shaderc::shaderc ...)   makes the named targets or stops with what to do
#
# Also used by the installed vkattnConfig.cmake. The private folder keeps every library's headers apart, so a target sees
# those it links and nothing else; in particular never that folder's C library.

# The dynamic loader of the private folder; empty when the system's own packages are used.
file(GLOB vkattn_private_loader "${VKATTN_DEPS}/usr/lib/*-linux-gnu*/ld-linux*.so.*")
if(vkattn_private_loader AND EXISTS "${VKATTN_DEPS}/bin/run-private")
  list(GET vkattn_private_loader 0 vkattn_private_loader)
  get_filename_component(vkattn_private_libs "${vkattn_private_loader}" DIRECTORY)
  set(vkattn_launcher "${VKATTN_DEPS}/bin/run-private")
else()
  set(vkattn_private_libs "")
  set(vkattn_launcher "")
endif()

# target | folder in VKATTN_DEPS/include | a header that shows it is there | library names, if it has one
set(vkattn_known_dependencies
  "Vulkan::Headers|vulkan-headers|vulkan/vulkan_core.h|"
  "Vulkan::Loader|vulkan-headers|vulkan/vulkan_core.h|vulkan"
  "shaderc::shaderc|shaderc|shaderc/shaderc.h|shaderc_shared,shaderc"
  "spirv::headers|spirv-headers|spirv/unified1/spirv.h|"
  "xxhash::xxhash|xxhash|xxhash.h|"
  "doctest::doctest|doctest|doctest/doctest.h|"
  "CLI11::CLI11|cli11|CLI/CLI.hpp|"
  "nlohmann_json::nlohmann_json|json|nlohmann/json.hpp|"
  "stb::stb|stb|stb/stb_image_write.h|"
  "Eigen3::Eigen|eigen|Eigen/Core|"
  "volk::volk|volk|volk.h|"
  "VMA::VMA|vma|vk_mem_alloc.h|")

function(vkattn_dependency target)
  if(TARGET ${target})
    return()
  endif()
  set(row ${vkattn_known_dependencies})
  list(FILTER row INCLUDE REGEX "^${target}[|]")
  if(NOT row)
    message(FATAL_ERROR "vkattn: ${target} is no dependency named in third_party/cmake/VkattnDependencies.cmake")
  endif()
  string(REPLACE "|" ";" row "${row}")
  list(GET row 1 folder)
  list(GET row 2 header)
  list(GET row 3 libraries)
  string(MAKE_C_IDENTIFIER "VKATTN_${target}" variable)
  string(TOUPPER "${variable}" variable)

  find_path(${variable}_INCLUDE NAMES ${header} PATHS "${VKATTN_DEPS}/include/${folder}" NO_DEFAULT_PATH)
  find_path(${variable}_INCLUDE NAMES ${header} HINTS ENV VULKAN_SDK PATH_SUFFIXES include eigen3 include/eigen3)
  if(NOT ${variable}_INCLUDE)
    message(FATAL_ERROR "vkattn: ${header} was not found. Run third_party/install.sh, or name its folder by -D${variable}_INCLUDE=")
  endif()
  mark_as_advanced(${variable}_INCLUDE)

  if(libraries)
    string(REPLACE "," ";" libraries "${libraries}")
    if(vkattn_private_libs)
      find_library(${variable}_LIBRARY NAMES ${libraries} PATHS "${vkattn_private_libs}" NO_DEFAULT_PATH)
    endif()
    find_library(${variable}_LIBRARY NAMES ${libraries} HINTS ENV VULKAN_SDK PATH_SUFFIXES lib)
    if(NOT ${variable}_LIBRARY)
      message(FATAL_ERROR "vkattn: no library ${libraries}. Run third_party/install.sh, or name it by -D${variable}_LIBRARY=")
    endif()
    mark_as_advanced(${variable}_LIBRARY)
    add_library(${target} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES IMPORTED_LOCATION "${${variable}_LIBRARY}")
    if(vkattn_private_libs)
      # These libraries ask for a newer C library than the linker looks at; the launcher starts programs with that one.
      target_link_options(${target} INTERFACE LINKER:--allow-shlib-undefined)
    endif()
  else()
    add_library(${target} INTERFACE IMPORTED GLOBAL)
  endif()
  target_include_directories(${target} SYSTEM INTERFACE "${${variable}_INCLUDE}")

  if(target STREQUAL "xxhash::xxhash")
    target_compile_definitions(${target} INTERFACE XXH_INLINE_ALL) # the header is enough
  elseif(target STREQUAL "volk::volk" OR target STREQUAL "VMA::VMA")
    vkattn_dependency(Vulkan::Headers)
    target_link_libraries(${target} INTERFACE Vulkan::Headers ${CMAKE_DL_LIBS})
    target_compile_definitions(${target} INTERFACE VK_NO_PROTOTYPES)
  endif()
endfunction()

function(vkattn_dependencies)
  foreach(target IN LISTS ARGN)
    vkattn_dependency(${target})
  endforeach()
endfunction()
