# Programs and tests that run with the private folder's loader and drivers, when there is one (third_party/README.md).
#
#   vkattn_add_program(target)     build/bin/<its name> starts it; the real program is in build/libexec
#   vkattn_test_starts(target program)   tests of target find that program's path in VKATTN_TEST_PROGRAM
#   vkattn_add_test(target [NAME name] [ARGS a...] [ENVIRONMENT A=b...] [LABELS l...] [TIMEOUT seconds])
#
# A plain add_test(NAME n COMMAND target) and add_custom_command(COMMAND target) use the loader, too.

if(vkattn_launcher)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${vkattn_launcher}")
  set(CMAKE_SKIP_BUILD_RPATH ON) # a run path would mix two C libraries
endif()

function(vkattn_add_program target)
  get_target_property(done ${target} VKATTN_PROGRAM) # several tests may run one program
  if(done)
    return()
  endif()
  set_target_properties(${target} PROPERTIES VKATTN_PROGRAM ON)
  if(NOT vkattn_launcher)
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
    return()
  endif()
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/libexec")
  file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/bin/$<TARGET_FILE_NAME:${target}>"
    CONTENT "#!/bin/sh\nexec '${vkattn_launcher}' '$<TARGET_FILE:${target}>' \"$@\"\n"
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endfunction()

function(vkattn_test_starts target program)
  add_dependencies(${target} ${program})
  target_compile_definitions(${target} PRIVATE
    VKATTN_TEST_PROGRAM="${PROJECT_BINARY_DIR}/bin/$<TARGET_FILE_NAME:${program}>")
endfunction()

function(vkattn_add_test target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "NAME;TIMEOUT" "ARGS;ENVIRONMENT;LABELS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "vkattn_add_test(${target}): what is ${arg_UNPARSED_ARGUMENTS}?")
  endif()
  if(NOT arg_NAME)
    set(arg_NAME ${target})
  endif()
  vkattn_add_program(${target})
  add_test(NAME ${arg_NAME} COMMAND ${target} ${arg_ARGS})
  # Drivers' compiled code is kept from run to run; sanitizers are told about drivers.
  set_tests_properties(${arg_NAME} PROPERTIES
    LABELS "${arg_LABELS}"
    ENVIRONMENT "${vkattn_test_environment};${arg_ENVIRONMENT}")
  if(arg_TIMEOUT)
    set_tests_properties(${arg_NAME} PROPERTIES TIMEOUT ${arg_TIMEOUT})
  endif()
endfunction()

# libLLVM frees aligned blocks by another operator delete.
set(vkattn_test_environment
  "MESA_SHADER_CACHE_DIR=${CMAKE_BINARY_DIR}/mesa_shader_cache"
  "ASAN_OPTIONS=detect_leaks=1:alloc_dealloc_mismatch=0"
  "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
  "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/third_party/sanitizers/leaks.txt:print_suppressions=0"
  "TSAN_OPTIONS=halt_on_error=1:suppressions=${PROJECT_SOURCE_DIR}/third_party/sanitizers/threads.txt")
