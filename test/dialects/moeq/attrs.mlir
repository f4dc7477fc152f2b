// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --verify-roundtrip -o %t

// CHECK: format = #moeq.plain<bf16> layout = #moeq.row_blocks<16>
moe.weight @a : tensor<32x64xf32> from [#moe.tensor<"a">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<16>
// CHECK: format = #moeq.plain<f16> layout = #moeq.row_major
moe.weight @b : tensor<64xf32> from [#moe.tensor<"b">] format = #moeq.plain<f16> layout = #moeq.row_major
// CHECK: format = #moeq.affine<4, 32, bf16> layout = #moeq.group_blocks
moe.weight @e : tensor<32x64xbf16> from [#moe.tensor<"e">] format = #moeq.affine<4, 32, bf16> layout = #moeq.group_blocks
// CHECK: format = #moeq.nf4<64>
moe.weight @n : tensor<32x64xbf16> from [#moe.tensor<"n">] format = #moeq.nf4<64> layout = #moeq.group_blocks
// CHECK: layout = #moeq.row_blocks<16, 2>
moe.weight @d : tensor<32x64xbf16> from [#moe.tensor<"d">] layout = #moeq.row_blocks<16, 2>
// CHECK: format = #moeq.plain<f32>
moe.weight @c : tensor<64xf32> from [#moe.tensor<"c">] format = #moeq.plain<f32>
