# moec_add_model(NAME SOURCE model.moe [DEPENDS file...] [OPTIONS option...])
#
# Compiles a model during the build, as target NAME. The artifact is NAME.so in
# the build folder; its path is the property MOEC_ARTIFACT of the target.
# DEPENDS names what the source reads, such as weight files. OPTIONS go to moec.
function(moec_add_model name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SOURCE" "DEPENDS;OPTIONS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCE)
    message(FATAL_ERROR "moec_add_model(NAME SOURCE model.moe "
            "[DEPENDS file...] [OPTIONS option...]), found: ${ARGN}")
  endif()
  if(NOT TARGET moec::moec)
    message(FATAL_ERROR "moec_add_model: this installation has no compiler")
  endif()
  get_filename_component(source ${arg_SOURCE} ABSOLUTE)
  set(depends "")
  foreach(file IN LISTS arg_DEPENDS)
    get_filename_component(file ${file} ABSOLUTE)
    list(APPEND depends ${file})
  endforeach()
  set(artifact ${CMAKE_CURRENT_BINARY_DIR}/${name}.so)
  add_custom_command(
    OUTPUT ${artifact}
    COMMAND moec::moec ${source} -o ${artifact} ${arg_OPTIONS}
    DEPENDS ${source} ${depends} moec::moec
    COMMENT "Compiling ${arg_SOURCE}"
    VERBATIM)
  add_custom_target(${name} ALL DEPENDS ${artifact})
  set_target_properties(${name} PROPERTIES MOEC_ARTIFACT ${artifact})
endfunction()
