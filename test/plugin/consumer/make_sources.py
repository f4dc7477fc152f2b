#!/usr/bin/python3
"""Writes the project of somebody who uses moec: the snippets of README.md, and
the captioner of examples/fashion.

  make_sources.py FOLDER

So the model, the program and the CMake lines of the README are compiled and run
against an installation, as they stand there.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]

CMAKE = """\
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 17)
enable_testing()

{snippet}
add_dependencies(program tiny)
get_target_property(artifact tiny MOEC_ARTIFACT)
add_test(NAME program COMMAND program ${{artifact}})
set_tests_properties(program PROPERTIES PASS_REGULAR_EXPRESSION "next: [0-9]+")

# The C interface, found by pkg-config.
find_package(PkgConfig REQUIRED)
pkg_check_modules(moert REQUIRED IMPORTED_TARGET moert)
add_executable(c-program main.c)
set_target_properties(c-program PROPERTIES C_STANDARD 11 C_EXTENSIONS OFF)
target_compile_options(c-program PRIVATE -Wall -Wextra -Werror -pedantic)
target_link_libraries(c-program PRIVATE PkgConfig::moert)
add_test(NAME c-program COMMAND c-program)
set_tests_properties(c-program PROPERTIES PASS_REGULAR_EXPRESSION "threads: 2")

# The captioner, from its sources alone.
find_package(ZLIB REQUIRED)
set(fashion "{root}/examples/fashion")
moec_add_model(captioner SOURCE ${{fashion}}/fashion.moe
               DEPENDS ${{fashion}}/fashion.safetensors
               OPTIONS --compute=f32)
add_executable(classify ${{fashion}}/classify.cpp)
target_link_libraries(classify PRIVATE moec::runtime ZLIB::ZLIB)
get_target_property(captioner captioner MOEC_ARTIFACT)
add_test(NAME classify COMMAND classify ${{captioner}}
         ${{fashion}}/reference/captions.txt --images 20 --show 1)
set_tests_properties(classify PROPERTIES PASS_REGULAR_EXPRESSION
                     "(1[5-9]|20) of 20 test images got the right caption")
"""
C_PROGRAM = """\
#include <moe/runtime.h>
#include <stdio.h>

int main(void) {
  moe_engine_options options = {0};
  moe_engine *engine = NULL;
  options.size = sizeof(options);
  options.threads = 2;
  if (moe_engine_create(&options, &engine) != MOE_OK) {
    puts(moe_last_error());
    return 1;
  }
  printf("threads: %u\\n", (unsigned)moe_engine_threads(engine));
  moe_engine_destroy(engine);
  return 0;
}
"""


def snippet(text, language):
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    if len(found) != 1:
        sys.exit(f"README.md: expected one {language} block, "
                 f"found {len(found)}")
    return found[0]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    readme = (ROOT / "README.md").read_text()
    (folder / "tiny.moe").write_text(snippet(readme, "moe"))
    (folder / "main.cpp").write_text(snippet(readme, "cpp"))
    (folder / "main.c").write_text(C_PROGRAM)
    (folder / "CMakeLists.txt").write_text(
        CMAKE.format(snippet=snippet(readme, "cmake"), root=ROOT))


main()
