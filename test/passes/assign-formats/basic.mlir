// RUN: moe-opt %s --assign-formats | FileCheck %s

// CHECK: moe.weight @a {{.*}} format = #moeq.plain<bf16>
moe.weight @a : tensor<8xbf16> from [#moe.tensor<"a">]
// A format that is there stays.
// CHECK: moe.weight @b {{.*}} format = #moeq.plain<f32>
moe.weight @b : tensor<8xbf16> from [#moe.tensor<"b">] format = #moeq.plain<f32>
// Integer tables have no format.
// CHECK: moe.weight @c : tensor<8xi32> from [#moe.tensor<"c">]{{$}}
moe.weight @c : tensor<8xi32> from [#moe.tensor<"c">]
