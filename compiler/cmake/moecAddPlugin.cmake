# moec_add_plugin(NAME SOURCES source... [TABLEGEN td...] [DIALECT dialect])
#
# Builds the plugin NAME.so, for --load-plugin=NAME.so and `use "NAME"`. It
# links moec::sdk alone, and carries the identity of this installation.
#
# Each X.td of TABLEGEN gives, in the build folder, XDialect.{h,cpp}.inc,
# XOps.{h,cpp}.inc and XAttrs.{h,cpp}.inc for the dialect DIALECT (default:
# NAME). MLIR's and moec's .td files are found by their usual paths.
function(moec_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DIALECT" "SOURCES;TABLEGEN")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "moec_add_plugin(NAME SOURCES source... "
            "[TABLEGEN td...] [DIALECT dialect]), found: ${ARGN}")
  endif()
  if(NOT arg_DIALECT)
    set(arg_DIALECT ${name})
  endif()

  set(includes -I${CMAKE_CURRENT_SOURCE_DIR} -I${MOEC_INCLUDE_DIR})
  foreach(folder ${MLIR_INCLUDE_DIRS})
    list(APPEND includes -I${folder})
  endforeach()
  set(generated "")
  foreach(td IN LISTS arg_TABLEGEN)
    get_filename_component(path ${td} ABSOLUTE)
    get_filename_component(stem ${td} NAME_WE)
    foreach(kind "Dialect:dialect:-dialect=${arg_DIALECT}" "Ops:op:"
                 "Attrs:attrdef:-attrdefs-dialect=${arg_DIALECT}")
      string(REGEX MATCH "^([^:]*):([^:]*):(.*)$" kind "${kind}")
      set(suffix ${CMAKE_MATCH_1})
      set(generator ${CMAKE_MATCH_2})
      set(option ${CMAKE_MATCH_3})
      foreach(part "h:decls" "cpp:defs")
        string(REPLACE ":" ";" part ${part})
        list(GET part 0 extension)
        list(GET part 1 what)
        set(output
            ${CMAKE_CURRENT_BINARY_DIR}/${stem}${suffix}.${extension}.inc)
        add_custom_command(
          OUTPUT ${output}
          COMMAND mlir-tblgen -gen-${generator}-${what} ${option} ${includes}
                  ${path} -o ${output} -d ${output}.d
          DEPENDS ${path} mlir-tblgen
          DEPFILE ${output}.d
          COMMENT "Generating ${stem}${suffix}.${extension}.inc"
          VERBATIM)
        list(APPEND generated ${output})
      endforeach()
    endforeach()
  endforeach()

  add_library(${name} MODULE ${arg_SOURCES} ${generated}
              ${MOEC_PACKAGE_DIR}/PluginIdentity.cpp)
  set_target_properties(${name} PROPERTIES PREFIX "" CXX_EXTENSIONS OFF)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}
                                             ${CMAKE_CURRENT_BINARY_DIR})
  target_link_libraries(${name} PRIVATE moec::sdk)
  # A missing symbol is an error here rather than when the plugin is loaded.
  target_link_options(${name} PRIVATE -Wl,-z,defs)
endfunction()
