# cmake -DFILES=a;b -DOUTPUT=folder -P embed_sources.cmake: writes shader_sources.cpp and vkattn/shader_sources.h into folder.

file(WRITE ${OUTPUT}/vkattn/shader_sources.h [[
// Generated: the files of shaders/ under the names that #include and the engine use.
#pragma once

#include <span>
#include <string_view>

namespace vkattn {

struct ShaderSource {
    std::string_view name;
    std::string_view text;
};
std::span<const ShaderSource> shader_sources();

}  // namespace vkattn
]])

# A literal of at most 12,000 bytes is cut from a file at a time: MSVC takes 16,380, and adjacent literals are joined.
set(entries "")
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  file(READ ${file} text)
  string(APPEND entries "    {\"${name}\",")
  string(LENGTH "${text}" length)
  set(begin 0)
  while(begin LESS length)
    string(SUBSTRING "${text}" ${begin} 12000 part)
    string(APPEND entries "\n     R\"glsl(${part})glsl\"")
    math(EXPR begin "${begin} + 12000")
  endwhile()
  if(length EQUAL 0)
    string(APPEND entries " \"\"")
  endif()
  string(APPEND entries "},\n")
endforeach()

file(WRITE ${OUTPUT}/shader_sources.cpp "// Generated from shaders/.
#include \"vkattn/shader_sources.h\"

namespace vkattn {
namespace {

constexpr ShaderSource sources[] = {
${entries}};

}  // namespace

std::span<const ShaderSource> shader_sources() { return sources; }

}  // namespace vkattn
")
