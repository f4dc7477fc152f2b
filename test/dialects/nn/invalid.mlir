// RUN: moe-opt %s --split-input-file -verify-diagnostics
//
// One test per labelled constraint.

// nn.state C1
// expected-error@+1 {{expected a static float tensor of rank 1, found 'tensor<2x2xf32>'}}
nn.state @k per_token : tensor<2x2xf32> cache_tokens = 4

// -----

// nn.state C2
// expected-error@+1 {{expected at least one cached token, found 0}}
nn.state @k per_token : tensor<2xf32> cache_tokens = 0

// -----

// nn.state_append C1: no such state
func.func @f(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected an nn.state @k, found none}}
  nn.state_append @k, %x at %p of %p : tensor<?x64xf32>
  return
}

// -----

// nn.state_append C1: width
// expected-note@+1 {{the state is declared here}}
nn.state @k per_token : tensor<32xf32> cache_tokens = 4
func.func @f(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected a state of width 64, @k is 'tensor<32xf32>'}}
  nn.state_append @k, %x at %p of %p : tensor<?x64xf32>
  return
}

// -----

// nn.embed C1
func.func @f(%i: tensor<?xi32>, %w: tensor<8x32xf32>) {
  // expected-error@+1 {{expected a result of width 32, found 64}}
  %y = nn.embed %i, %w : tensor<8x32xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.embed C2
func.func @f(%i: tensor<?xi32>, %w: tensor<8x32xf32>) {
  // expected-error@+1 {{expected 'kind' exactly when there are kinds}}
  %y = "nn.embed"(%i, %w) <{kind = 1 : i64}> : (tensor<?xi32>, tensor<8x32xf32>) -> tensor<?x32xf32>
  return
}

// -----

// nn.patches C1
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{expected images of 16 elements, found 64}}
  %y = nn.patches %x height = 4 width = 4 channels = 1 size = 2 order = hwc : tensor<?x64xf32> -> tensor<?x4xf32>
  return
}

// -----

// nn.patches C2
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{expected a size that divides 8 and 8, found 3}}
  %y = nn.patches %x height = 8 width = 8 channels = 1 size = 3 order = hwc : tensor<?x64xf32> -> tensor<?x9xf32>
  return
}

// -----

// nn.patches C3
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{expected patches of 16 elements}}
  %y = nn.patches %x height = 8 width = 8 channels = 1 size = 4 order = hwc : tensor<?x64xf32> -> tensor<?x4xf32>
  return
}

// -----

// nn.add_positions C1
func.func @f(%x: tensor<?x64xf32>, %w: tensor<4x32xf32>) {
  // expected-error@+1 {{expected a table of width 64}}
  %y = nn.add_positions %x, %w : tensor<?x64xf32>, tensor<4x32xf32>
  return
}

// -----

// nn.map C1
func.func @f(%x: tensor<?x64xf32>, %z: tensor<?x48xf32>) {
  // expected-error@+1 {{expected operands of a width that divides 64 or tensor<?xi32>, found 'tensor<?x48xf32>'}}
  %y = nn.map %x, %z : (tensor<?x64xf32>, tensor<?x48xf32>) -> tensor<?x64xf32> {
  ^bb0(%a: f32, %b: f32):
    nn.yield %a : f32
  }
  return
}

// -----

// nn.map C1: a stored vector alone gives no rows
func.func @f(%v: tensor<64xf32>) {
  // expected-error@+1 {{expected operands of a width that divides 64 or tensor<?xi32>, found 'tensor<64xf32>'}}
  %y = nn.map %v : (tensor<64xf32>) -> tensor<?x64xf32> {
  ^bb0(%a: f32):
    nn.yield %a : f32
  }
  return
}

// -----

// nn.map C1: positions alone give no rows
func.func @f(%p: tensor<?xi32>) {
  // expected-error@+1 {{expected operands of a width that divides 64 or tensor<?xi32>, found 'tensor<?xi32>'}}
  %y = nn.map %p : (tensor<?xi32>) -> tensor<?x64xf32> {
  ^bb0(%a: i32):
    %c = arith.constant 0.0 : f32
    nn.yield %c : f32
  }
  return
}

// -----

// nn.map C2: arguments are f32 whatever the stream holds
func.func @f(%x: tensor<?x64xbf16>) {
  // expected-error@+1 {{expected a body argument of type 'f32', found 'bf16'}}
  %y = nn.map %x : (tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  ^bb0(%a: bf16):
    %c = arith.constant 0.0 : f32
    nn.yield %c : f32
  }
  return
}

// -----

// nn.map C2: one f32 is yielded
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{expected a body from 1 elements to one f32}}
  %y = nn.map %x : (tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%a: f32):
    nn.yield %a, %a : f32, f32
  }
  return
}

// -----

// nn.norm C1
func.func @f(%x: tensor<?x64xf32>, %w: tensor<48xf32>) {
  // expected-error@+1 {{expected groups whose width divides 64, found 48}}
  %y = nn.norm rms %x, %w eps = 1.0e-6 : tensor<?x64xf32>, tensor<48xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.norm C2
func.func @f(%x: tensor<?x64xf32>, %w: tensor<64xf32>, %b: tensor<32xf32>) {
  // expected-error@+1 {{expected a bias of width 64, found 'tensor<32xf32>'}}
  %y = nn.norm layer %x, %w bias %b : tensor<32xf32> eps = 1.0e-6 : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.norm C2: weight
func.func @f(%x: tensor<?x64xf32>, %b: tensor<64xf32>) {
  // expected-error@+1 {{expected a weight where there is a bias}}
  %y = nn.norm layer %x bias %b : tensor<64xf32> group = 64 eps = 1.0e-6 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.norm C4
func.func @f(%x: tensor<?x64xf32>, %w: tensor<64xf32>) {
  // expected-error@+1 {{expected 'group' exactly when there is no weight}}
  %y = nn.norm rms %x, %w group = 16 eps = 1.0e-6 : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.norm C3
func.func @f(%x: tensor<?x64xf32>, %w: tensor<64xf32>) {
  // expected-error@+1 {{expected a result of width 64, found 32}}
  %y = nn.norm rms %x, %w eps = 1.0e-6 : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x32xf32>
  return
}

// -----

// nn.linear C1
func.func @f(%x: tensor<?x64xf32>, %w: tensor<64x32xf32>) {
  // expected-error@+1 {{expected weight to be [32, 64], found 'tensor<64x32xf32>'}}
  %y = nn.linear %x, %w compute = f32 : tensor<?x64xf32>, tensor<64x32xf32> -> tensor<?x32xf32>
  return
}

// -----

// nn.linear C2
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %b: tensor<64xf32>) {
  // expected-error@+1 {{expected a bias of width 32}}
  %y = nn.linear %x, %w bias %b : tensor<64xf32> compute = f32 : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  return
}

// -----

// nn.slice C1
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{expected streams of 3 heads, found 'tensor<?x64xf32>'}}
  %y = nn.slice %x heads = 3 from = 0 : tensor<?x64xf32> -> tensor<?x12xf32>
  return
}

// -----

// nn.slice C2
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{expected a part of a head of 16 elements, found 8 elements from 10 on}}
  %y = nn.slice %x heads = 4 from = 10 : tensor<?x64xf32> -> tensor<?x32xf32>
  return
}

// -----

// nn.slice C3
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{expected one element type, found 'tensor<?x64xf32>' and 'tensor<?x32xbf16>'}}
  %y = nn.slice %x heads = 4 from = 0 : tensor<?x64xf32> -> tensor<?x32xbf16>
  return
}

// -----

// nn.concat C1
func.func @f(%x: tensor<?x64xf32>, %z: tensor<?x9xf32>) {
  // expected-error@+1 {{expected streams of 4 heads, found 'tensor<?x9xf32>'}}
  %y = nn.concat %x, %z heads = 4 : tensor<?x64xf32>, tensor<?x9xf32> -> tensor<?x73xf32>
  return
}

// -----

// nn.concat C2
func.func @f(%x: tensor<?x64xf32>, %z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a result of width 72, found 64}}
  %y = nn.concat %x, %z heads = 4 : tensor<?x64xf32>, tensor<?x8xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.concat C3
func.func @f(%x: tensor<?x64xf32>, %z: tensor<?x8xbf16>) {
  // expected-error@+1 {{expected one element type, found 'tensor<?x64xf32>' and 'tensor<?x8xbf16>'}}
  %y = nn.concat %x, %z heads = 4 : tensor<?x64xf32>, tensor<?x8xbf16> -> tensor<?x72xf32>
  return
}

// -----

// nn.head_linear C1
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x16xf32>) {
  // expected-error@+1 {{expected streams of 4 heads, found 'tensor<?x30xf32>'}}
  %y = nn.head_linear %x, %w heads = 4 compute = f32 : tensor<?x64xf32>, tensor<32x16xf32> -> tensor<?x30xf32>
  return
}

// -----

// nn.head_linear C2
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>) {
  // expected-error@+1 {{expected weight to be [32, 16], found 'tensor<32x64xf32>'}}
  %y = nn.head_linear %x, %w heads = 4 compute = f32 : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  return
}

// -----

// nn.glu C1
func.func @f(%x: tensor<?x64xf32>, %g: tensor<32x64xf32>, %u: tensor<16x64xf32>, %d: tensor<64x32xf32>) {
  // expected-error@+1 {{expected up to be [32, 64], found 'tensor<16x64xf32>'}}
  %y = nn.glu %x gate %g up %u down %d act = silu compute = f32 : tensor<?x64xf32>, tensor<32x64xf32>, tensor<16x64xf32>, tensor<64x32xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.mlp C1
func.func @f(%x: tensor<?x64xf32>, %u: tensor<16x64xf32>, %d: tensor<64x32xf32>) {
  // expected-error@+1 {{expected up to be [32, 64], found 'tensor<16x64xf32>'}}
  %y = nn.mlp %x up %u down %d act = silu compute = f32 : tensor<?x64xf32>, tensor<16x64xf32>, tensor<64x32xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.mlp C2
func.func @f(%x: tensor<?x64xf32>, %u: tensor<32x64xf32>, %b: tensor<16xf32>, %d: tensor<64x32xf32>) {
  // expected-error@+1 {{expected a bias of width 32}}
  %y = nn.mlp %x up %u bias %b : tensor<16xf32> down %d act = silu compute = f32 : tensor<?x64xf32>, tensor<32x64xf32>, tensor<64x32xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.joint_linear C1
func.func @f(%x: tensor<?x64xf32>, %w: tensor<64x32xf32>, %v: tensor<32x64xf32>, %b: tensor<32xf32>, %c: tensor<16xf32>) {
  // expected-error@+1 {{expected weight to be [32, 64], found 'tensor<64x32xf32>'}}
  %y = nn.joint_linear %x weights(%w, %v : tensor<64x32xf32>, tensor<32x64xf32>) compute = f32 : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%p: f32, %q: f32):
    nn.yield %p : f32
  }
  return
}

// -----

// nn.joint_linear C2: number
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %v: tensor<32x64xf32>, %b: tensor<32xf32>, %c: tensor<16xf32>) {
  // expected-error@+1 {{expected one bias per weight, found 1}}
  %y = nn.joint_linear %x weights(%w, %v : tensor<32x64xf32>, tensor<32x64xf32>) biases(%b : tensor<32xf32>) compute = f32 : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%p: f32, %q: f32):
    nn.yield %p : f32
  }
  return
}

// -----

// nn.joint_linear C2: width
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %v: tensor<32x64xf32>, %b: tensor<32xf32>, %c: tensor<16xf32>) {
  // expected-error@+1 {{expected a bias of width 32}}
  %y = nn.joint_linear %x weights(%w, %v : tensor<32x64xf32>, tensor<32x64xf32>) biases(%b, %c : tensor<32xf32>, tensor<16xf32>) compute = f32 : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%p: f32, %q: f32):
    nn.yield %p : f32
  }
  return
}

// -----

// nn.joint_linear C3
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %v: tensor<32x64xf32>, %b: tensor<32xf32>, %c: tensor<16xf32>) {
  // expected-error@+1 {{expected a body from 2 f32 to f32}}
  %y = nn.joint_linear %x weights(%w, %v : tensor<32x64xf32>, tensor<32x64xf32>) compute = f32 : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%p: f32, %q: f64):
    nn.yield %p : f32
  }
  return
}

// -----

// nn.rotary_table C1
func.func @f(%p: tensor<?xi32>) {
  // expected-error@+1 {{expected an f32 result of even width, found 'tensor<?x7xf32>'}}
  %y = nn.rotary_table %p frequencies = dense<[1.0, 0.1, 0.01]> : tensor<3xf32> magnitude = 1.0 : tensor<?x7xf32>
  return
}

// -----

// nn.rotary_table C2
func.func @f(%p: tensor<?xi32>) {
  // expected-error@+1 {{expected 4 frequencies, found 3}}
  %y = nn.rotary_table %p frequencies = dense<[1.0, 0.1, 0.01]> : tensor<3xf32> magnitude = 1.0 : tensor<?x8xf32>
  return
}

// -----

// nn.rotary_table C2: long
func.func @f(%p: tensor<?xi32>) {
  // expected-error@+1 {{expected 2 frequencies, found 1}}
  %y = nn.rotary_table %p frequencies = dense<[1.0, 0.1]> : tensor<2xf32> magnitude = 1.0 lengths %p limit = 8 long = dense<[1.0]> : tensor<1xf32> long_magnitude = 1.0 : tensor<?x4xf32>
  return
}

// -----

// nn.rotary_table C3
func.func @f(%p: tensor<?xi32>) {
  // expected-error@+1 {{expected lengths and a positive limit with one of growth and long frequencies}}
  %y = nn.rotary_table %p frequencies = dense<[1.0, 0.1]> : tensor<2xf32> magnitude = 1.0 limit = 8 growth = 2.0 : tensor<?x4xf32>
  return
}

// -----

// nn.rope C1
func.func @f(%x: tensor<?x64xf32>, %t: tensor<?x48xf32>) {
  // expected-error@+1 {{expected heads whose width divides 64, found 48}}
  %y = nn.rope half %x, %t : tensor<?x64xf32>, tensor<?x48xf32>
  return
}

// -----

// nn.rope C2
func.func @f(%x: tensor<?x64xf32>, %t: tensor<?x8xf32>) {
  // expected-error@+1 {{expected to rotate a part of a head of 16 elements, found 8 elements from 10 on}}
  %y = nn.rope half %x, %t head = 16 from = 10 : tensor<?x64xf32>, tensor<?x8xf32>
  return
}

// -----

// nn.attention C1
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x48xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected heads to be a multiple of kv_heads, found 4 and 3}}
  %y = nn.attention %x, %k, %k : tensor<?x48xf32>, tensor<?x48xf32> at %p of %p heads = 4 kv_heads = 3 scale = 1.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C2: query
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected query and result to hold 6 heads}}
  %y = nn.attention %x, %k, %k : tensor<?x64xf32>, tensor<?x64xf32> at %p of %p heads = 6 kv_heads = 3 scale = 1.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C2: keys
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x48xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected keys and values of 2 heads, found widths 48 and 48}}
  %y = nn.attention %x, %k, %k : tensor<?x48xf32>, tensor<?x48xf32> at %p of %p heads = 4 kv_heads = 2 scale = 1.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C2: state
// expected-note@+1 {{the state is declared here}}
nn.state @s per_token : tensor<16xf32> cache_tokens = 4
func.func @f(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected a state of width 32, @s is 'tensor<16xf32>'}}
  %y = nn.attention %x state(@s, @s) at %p of %p heads = 4 kv_heads = 2 scale = 1.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C2: values
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x32xf32>, %v: tensor<?x16xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected keys and values of 2 heads, found widths 32 and 16}}
  %y = nn.attention %x, %k, %v : tensor<?x32xf32>, tensor<?x16xf32> at %p of %p heads = 4 kv_heads = 2 scale = 1.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C4
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x32xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected at most one of window, chunk and full, of a positive size}}
  %y = nn.attention %x, %k, %k : tensor<?x32xf32>, tensor<?x32xf32> at %p of %p heads = 4 kv_heads = 2 scale = 1.0 window = 4 full compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C4: size
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x32xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected at most one of window, chunk and full, of a positive size}}
  %y = nn.attention %x, %k, %k : tensor<?x32xf32>, tensor<?x32xf32> at %p of %p heads = 4 kv_heads = 2 scale = 1.0 chunk = 0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C5
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x32xf32>, %s: tensor<2xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected one sink for each of 4 heads, found 'tensor<2xf32>'}}
  %y = nn.attention %x, %k, %k : tensor<?x32xf32>, tensor<?x32xf32> at %p of %p sinks %s : tensor<2xf32> heads = 4 kv_heads = 2 scale = 1.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C6
func.func @f(%x: tensor<?x64xf32>, %k: tensor<?x32xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected a positive softcap}}
  %y = nn.attention %x, %k, %k : tensor<?x32xf32>, tensor<?x32xf32> at %p of %p heads = 4 kv_heads = 2 scale = 1.0 softcap = -2.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.attention C3
func.func @f(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{expected keys and values as operands or as states}}
  %y = nn.attention %x at %p of %p heads = 4 kv_heads = 2 scale = 1.0 compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.glu C2
func.func @f(%x: tensor<?x64xf32>, %g: tensor<32x64xf32>, %u: tensor<32x64xf32>, %d: tensor<64x32xf32>, %b: tensor<64xf32>) {
  // expected-error@+1 {{expected a bias of width 32, found 'tensor<64xf32>'}}
  %y = nn.glu %x gate %g gate_bias %b : tensor<64xf32> up %u down %d act = silu compute = f32 : tensor<?x64xf32>, tensor<32x64xf32>, tensor<32x64xf32>, tensor<64x32xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.glu C3
func.func @f(%x: tensor<?x64xf32>, %g: tensor<32x64xf32>, %u: tensor<32x64xf32>, %d: tensor<64x32xf32>) {
  // expected-error@+1 {{expected a clamp on one side of the activation, found both}}
  %y = nn.glu %x gate %g up %u down %d act = silu compute = f32 {clamp_before = 7.0, clamp_after = 7.0} : tensor<?x64xf32>, tensor<32x64xf32>, tensor<32x64xf32>, tensor<64x32xf32> -> tensor<?x64xf32>
  return
}

// -----

// nn.mlp C3
func.func @f(%x: tensor<?x64xf32>, %u: tensor<32x64xf32>, %d: tensor<64x32xf32>) {
  // expected-error@+1 {{expected a slope with silu only, found one with relu}}
  %y = nn.mlp %x up %u down %d act = relu compute = f32 {slope = 2.0} : tensor<?x64xf32>, tensor<32x64xf32>, tensor<64x32xf32> -> tensor<?x64xf32>
  return
}
