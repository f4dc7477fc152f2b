// RUN: moe-opt %s --split-input-file -verify-diagnostics

// expected-error@+1 {{expected f32, bf16 or f16, found 'f64'}}
moe.weight @a : tensor<8xf32> from [#moe.tensor<"a">] format = #moeq.plain<f64>

// -----

// expected-error@+1 {{expected blocks of 1 to 64 rows, found 0}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] layout = #moeq.row_blocks<0>

// -----

// expected-error@+1 {{expected codes of 4 or 8 bits, found 5}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] format = #moeq.affine<5, 32, bf16>

// -----

// expected-error@+1 {{expected groups of 32, 64, 128 or 256 columns, found 33}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] format = #moeq.affine<4, 33, bf16>

// -----

// expected-error@+1 {{expected a scale of f32 or bf16, found 'f16'}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] format = #moeq.affine<4, 32, f16>

// -----

// expected-error@+1 {{expected groups of 32, 64, 128 or 256 columns, found 16}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] format = #moeq.nf4<16>

// -----

// expected-error@+1 {{expected groups of 1, 2, 4 or 8 columns, found 3}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] layout = #moeq.row_blocks<16, 3>

// -----

// A layout is no format.
// expected-error@+1 {{invalid kind of attribute specified}}
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">] format = #moeq.row_major
