// RUN: moe-opt --lower-to-llvm=levels=generic --split-input-file --verify-diagnostics %s

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
moe.weight @w : tensor<32x64xbf16> from [#moe.tensor<"w">]
func.func @layout() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x64xf32>
    %y = moex.arena_slice #zero rows #T : memref<?x32xf32>
    %w = moex.weight @w : memref<32x64xbf16>
    // expected-error@+1 {{kernel wants layout #moeq.row_blocks<16, 2>, weight @w has #moeq.row_major}}
    moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x64xbf16>)
      outs(%y : memref<?x32xf32>) rows #T compute = f32
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
moe.weight @w : tensor<32x64xbf16> from [#moe.tensor<"w">] layout = #moeq.row_blocks<16>
func.func @uniform_layout() attributes {moex.scratch = #zero} {
  moex.parallel {
    %y = moex.arena_slice #zero rows #T : memref<?x32x64xbf16>
    %w = moex.weight @w : memref<32x64xbf16>
    // expected-error@+1 {{kernel wants layout #moeq.row_major, weight @w has #moeq.row_blocks<16>}}
    moex.rowwise ins(%w : memref<32x64xbf16>) outs(%y : memref<?x32x64xbf16>)
      rows #T period = [0] body {
    ^bb0(%r: tensor<32x64xbf16>):
      row.yield %r : tensor<32x64xbf16>
    }
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
// expected-note@+1 {{the weight}}
moe.weight @w : tensor<32x64xf32> from [#moe.tensor<"w">] format = #moeq.plain<bf16>
func.func @format() attributes {moex.scratch = #zero} {
  moex.parallel {
    // expected-error@+1 {{target 'x86_64' reads @w as plain 'f32', but it is stored as #moeq.plain<bf16>}}
    %w = moex.weight @w : memref<32x64xf32>
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
func.func @arithmetic() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x8xf32>
    moex.rowwise ins(%x : memref<?x8xf32>) outs(%x : memref<?x8xf32>)
      rows #T period = [0] body {
    ^bb0(%r: tensor<8xf32>):
      %y = row.map %r : (tensor<8xf32>) -> tensor<8xf32> {
      ^bb0(%e: f32):
        // expected-error@+1 {{on 'f32' is not supported by CPU targets}}
        %a = math.atan %e : f32
        row.yield %a : f32
      }
      row.yield %y : tensor<8xf32>
    }
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
func.func @remainder() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?xf32>
    moex.rowwise ins(%x : memref<?xf32>) outs(%x : memref<?xf32>)
      rows #T period = [0] body {
    ^bb0(%r: f32):
      // expected-error@+1 {{on 'f32' is not supported by CPU targets}}
      %a = arith.remf %r, %r : f32
      row.yield %a : f32
    }
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
func.func @alloc() attributes {moex.scratch = #zero} {
  moex.parallel {
    // expected-error@+1 {{is not supported by lower-to-llvm: expected the form after phase schedule}}
    %x = moex.alloc #T : memref<?x8xf32>
  }
  return
}

// -----

// expected-error@+1 {{has no 'moex.scratch': expected the form after phase schedule}}
func.func @no_scratch() {
  moex.parallel {
  }
  return
}

// -----

#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
// expected-error@+1 {{expected one moex.parallel and a return}}
func.func @no_region() attributes {moex.scratch = #zero} {
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
func.func @stack() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x300000xf32>
    // expected-error@+1 {{needs 1200000 bytes of stack for its rows, more than 1048576}}
    moex.rowwise ins(%x : memref<?x300000xf32>) outs(%x : memref<?x300000xf32>)
      rows #T period = [0] body {
    ^bb0(%r: tensor<300000xf32>):
      %y = row.map %r : (tensor<300000xf32>) -> tensor<300000xf32> {
      ^bb0(%e: f32):
        %a = arith.addf %e, %e : f32
        row.yield %a : f32
      }
      row.yield %y : tensor<300000xf32>
    }
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
func.func @columns() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x32xf32>
    // expected-error@+1 {{cannot divide its columns on a CPU}}
    moex.rowwise ins(%x : memref<?x32xf32>) outs(%x : memref<?x32xf32>)
      rows #T period = [0] tasks = columns body {
    ^bb0(%r: tensor<32xf32>):
      row.yield %r : tensor<32xf32>
    }
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
nn.state @k per_token : tensor<64xf32> cache_tokens = 64
func.func @state() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x64xbf16>
    // expected-error@+1 {{expected rows of 64 'f32' like state @k, found 'memref<?x64xbf16>'}}
    moex.state_append @k ins(%x : memref<?x64xbf16>)
  }
  return
}

// -----

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>
func.func @heads() attributes {moex.scratch = #zero} {
  moex.parallel {
    %q = moex.arena_slice #zero rows #T : memref<?x64xf32>
    %k = moex.arena_slice #zero rows #T : memref<?x48xf32>
    // expected-error@+1 {{expected a query of 4 heads, keys and values of 2 heads, and an out of 4 heads, found widths 64, 48, 48 and 64}}
    moex.attention ins(%q : memref<?x64xf32>) keys(%k, %k : memref<?x48xf32>, memref<?x48xf32>)
      outs(%q : memref<?x64xf32>) heads = 4 kv_heads = 2 scale = 1.0 compute = f32
  }
  return
}
