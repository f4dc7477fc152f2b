// RUN: not moe-opt --lower-to-llvm=target=abacus %s 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not moe-opt --lower-to-llvm=levels=generic,avx3 %s 2>&1 | FileCheck %s --check-prefix=LEVEL

// TARGET: unknown target 'abacus': expected one of generic, nvptx, x86_64
// LEVEL: target 'x86_64' has no level 'avx3'
module {
}
