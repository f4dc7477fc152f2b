// Every operation of nn: printed, parsed and printed again, and through bytecode.
//
// RUN: moe-opt %s --split-input-file | moe-opt --split-input-file | FileCheck %s
// RUN: moe-opt %s --split-input-file --verify-roundtrip -o %t

// CHECK: nn.state
nn.state @l0.k per_token : tensor<128xbf16> cache_tokens = 561 layer = 0

// -----

// CHECK: nn.state_append
nn.state @k per_token : tensor<128xf32> cache_tokens = 64
func.func @f(%k: tensor<?x128xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>) {
  nn.state_append @k, %k at %p of %s : tensor<?x128xf32>
  return
}

// -----

// CHECK: nn.embed
func.func @f(%ids: tensor<?xi32>, %w: tensor<256x64xbf16>) -> tensor<?x64xf32> {
  %x = nn.embed %ids, %w : tensor<256x64xbf16> -> tensor<?x64xf32>
  return %x : tensor<?x64xf32>
}

// -----

// CHECK: nn.patches
func.func @f(%i: tensor<?x784xf32>) -> tensor<?x16xf32> {
  %p = nn.patches %i height = 28 width = 28 channels = 1 size = 4 order = hwc
    : tensor<?x784xf32> -> tensor<?x16xf32>
  return %p : tensor<?x16xf32>
}

// -----

// CHECK: nn.add_positions
func.func @f(%x: tensor<?x64xf32>, %w: tensor<49x64xbf16>) -> tensor<?x64xf32> {
  %y = nn.add_positions %x, %w : tensor<?x64xf32>, tensor<49x64xbf16>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.take_rows
func.func @f(%x: tensor<?x64xf32>, %r: tensor<?xi32>) -> tensor<?x64xf32> {
  %y = nn.take_rows %x[%r] : tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.map
func.func @f(%x: tensor<?x64xf32>, %g: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %y = nn.map %x, %g : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    nn.yield %p : f32
  }
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.norm
func.func @f(%x: tensor<?x64xf32>, %w: tensor<64xbf16>) -> tensor<?x64xf32> {
  %y = nn.norm rms %x, %w eps = 1.0e-6
    : tensor<?x64xf32>, tensor<64xbf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.linear
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xbf16>) -> tensor<?x32xf32> {
  %y = nn.linear %x, %w compute = f32
    : tensor<?x64xf32>, tensor<32x64xbf16> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// CHECK: nn.joint_linear
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xbf16>) -> tensor<?x32xf32> {
  %y = nn.joint_linear %x weights(%w : tensor<32x64xbf16>) compute = f32
    : tensor<?x64xf32> -> tensor<?x32xf32> {
  ^bb0(%a: f32):
    %zero = arith.constant 0.0 : f32
    %r = arith.maximumf %a, %zero : f32
    nn.yield %r : f32
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK: nn.glu
func.func @f(%x: tensor<?x64xf32>, %g: tensor<32x64xbf16>,
             %u: tensor<32x64xbf16>, %d: tensor<64x32xbf16>) -> tensor<?x64xf32> {
  %y = nn.glu %x gate %g up %u down %d act = silu compute = f32
    : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<32x64xbf16>,
      tensor<64x32xbf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.mlp
func.func @f(%x: tensor<?x64xf32>, %u: tensor<32x64xbf16>,
             %d: tensor<64x32xbf16>) -> tensor<?x64xf32> {
  %y = nn.mlp %x up %u down %d act = relu2 compute = f32
    : tensor<?x64xf32>, tensor<32x64xbf16>, tensor<64x32xbf16>
    -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.rotary_table
func.func @f(%p: tensor<?xi32>) -> tensor<?x4xf32> {
  %t = nn.rotary_table %p frequencies = dense<[1.0, 0.01]> : tensor<2xf32> magnitude = 1.0 : tensor<?x4xf32>
  return %t : tensor<?x4xf32>
}

// -----

// CHECK: nn.sequence_lengths
// CHECK: nn.rotary_table {{.*}} magnitude = 1.250000e+00 lengths %{{.*}} limit = 16 long = dense<[5.000000e-01, 0.00999999977]> : tensor<2xf32> long_magnitude = 1.500000e+00
// CHECK: nn.rotary_table {{.*}} lengths %{{.*}} limit = 16 growth = 2.000000e+00
func.func @f(%p: tensor<?xi32>, %s: tensor<?xi32>) {
  %n = nn.sequence_lengths %p of %s
  %t = nn.rotary_table %p frequencies = dense<[1.0, 0.01]> : tensor<2xf32> magnitude = 1.25 lengths %n limit = 16 long = dense<[0.5, 0.01]> : tensor<2xf32> long_magnitude = 1.5 : tensor<?x4xf32>
  %u = nn.rotary_table %p frequencies = dense<[1.0, 0.01]> : tensor<2xf32> magnitude = 1.0 lengths %n limit = 16 growth = 2.0 : tensor<?x4xf32>
  return
}

// -----

// CHECK: nn.rope
func.func @f(%x: tensor<?x256xf32>, %t: tensor<?x64xf32>) -> tensor<?x256xf32> {
  %y = nn.rope half %x, %t : tensor<?x256xf32>, tensor<?x64xf32>
  return %y : tensor<?x256xf32>
}

// -----

// CHECK: nn.rope pairs %{{.*}}, %{{.*}} head = 32 from = 16
func.func @f(%x: tensor<?x64xf32>, %t: tensor<?x8xf32>) -> tensor<?x64xf32> {
  %y = nn.rope pairs %x, %t head = 32 from = 16 : tensor<?x64xf32>, tensor<?x8xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.norm rms %{{.*}} group = 16
func.func @f(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = nn.norm rms %x group = 16 eps = 1.0e-6 : tensor<?x64xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK: nn.slice
// CHECK: nn.head_linear
// CHECK: nn.concat
func.func @f(%x: tensor<?x64xf32>, %w: tensor<128x8xbf16>) -> tensor<?x192xf32> {
  %y = nn.slice %x heads = 4 from = 8 : tensor<?x64xf32> -> tensor<?x32xf32>
  %z = nn.head_linear %y, %w heads = 4 compute = f32 : tensor<?x32xf32>, tensor<128x8xbf16> -> tensor<?x128xf32>
  %c = nn.concat %x, %z heads = 4 : tensor<?x64xf32>, tensor<?x128xf32> -> tensor<?x192xf32>
  return %c : tensor<?x192xf32>
}

// -----

// CHECK: nn.attention {{.*}} sinks %{{.*}} : tensor<4xf32> heads = 4 kv_heads = 1 scale = 1.000000e+00 softcap = 3.000000e+01 chunk = 8 compute
// CHECK: nn.attention {{.*}} full compute
func.func @f(%q: tensor<?x64xf32>, %k: tensor<?x16xf32>, %w: tensor<4xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>) {
  %y = nn.attention %q, %k, %k : tensor<?x16xf32>, tensor<?x16xf32> at %p of %s sinks %w : tensor<4xf32>
    heads = 4 kv_heads = 1 scale = 1.0 softcap = 30.0 chunk = 8 compute = f32 : tensor<?x64xf32> -> tensor<?x48xf32>
  %z = nn.attention %q, %k, %k : tensor<?x16xf32>, tensor<?x16xf32> at %p of %s
    heads = 4 kv_heads = 1 scale = 1.0 full compute = f32 : tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// CHECK: nn.attention
nn.state @k per_token : tensor<128xf32> cache_tokens = 64
nn.state @v per_token : tensor<128xf32> cache_tokens = 64
func.func @f(%q: tensor<?x256xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>) -> tensor<?x256xf32> {
  %y = nn.attention %q state(@k, @v) at %p of %s heads = 4 kv_heads = 2
    scale = 1.25e-1 compute = f32 : tensor<?x256xf32> -> tensor<?x256xf32>
  return %y : tensor<?x256xf32>
}
