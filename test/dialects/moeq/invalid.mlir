// RUN: moe-opt %s --split-input-file -verify-diagnostics

// expected-error@+1 {{expected f32, bf16 or f16, found 'f64'}}
moe.weight @a : tensor<8xf32> from [#moe.tensor<"a">] format = #moeq.plain<f64>

// -----

// expected-error@+1 {{expected blocks of 1 to 64 rows, found 0}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] layout = #moeq.row_blocks<0>

// -----

// expected-error@+1 {{expected groups of 1, 2 or 4 columns, found 3}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] layout = #moeq.row_blocks<16, 3>

// -----

// A layout is no format.
// expected-error@+1 {{invalid kind of attribute specified}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] format = #moeq.row_major
