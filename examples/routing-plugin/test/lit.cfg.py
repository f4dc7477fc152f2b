"""Tests of the plugin, against an installed moec.

  lit -Dmoec=/prefix/of/moec -Dplugin=build/acme.so test
"""

import os

import lit.formats

prefix = lit_config.params["moec"]
llvm = lit_config.params.get("llvm", "/usr/lib/llvm-22")
plugin = os.path.abspath(lit_config.params["plugin"])

config.name = "acme"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(os.path.realpath(__file__))
config.test_exec_root = os.path.join(os.path.dirname(plugin), "test")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(os.path.abspath(prefix), "bin"), os.path.join(llvm, "bin"),
     config.environment.get("PATH", "")])
# `use "acme"` finds the plugin here.
config.environment["MOEC_PLUGIN_PATH"] = os.path.dirname(plugin)
config.substitutions += [("%acme", f"--load-plugin={plugin}"),
                         ("%models", os.path.dirname(config.test_source_root))]
