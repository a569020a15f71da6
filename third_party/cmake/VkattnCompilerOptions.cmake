# One strict set of warnings for all of our C++ (third-party headers are system headers), and the sanitizers.

if(MSVC)
  add_compile_options(/W4 /WX /permissive- /utf-8 /Zc:preprocessor /w44062)
else()
  add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
    -Wimplicit-fallthrough -Wold-style-cast -Wundef -Werror
    -Werror=switch-enum # an operator that forgets a pass must not compile
    -ffp-contract=off)  # evaluate() promises IEEE single steps on every machine
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 reports these inside std::string and std::vector at -O2 where nothing is wrong (GCC bugs 105651, 105329).
    add_compile_options(-Wno-restrict -Wno-error=stringop-overflow -Wno-error=stringop-overread -Wno-error=array-bounds
      -Wno-error=maybe-uninitialized -Wno-error=free-nonheap-object)
  endif()
endif()

if(VKATTN_SANITIZE)
  string(REPLACE ";" "," sanitizers "${VKATTN_SANITIZE}")
  add_compile_options(-fsanitize=${sanitizers} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${sanitizers})
  if(sanitizers MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
endif()

add_library(vkattn_warnings INTERFACE) # rooms may name it; the options above already hold everywhere
