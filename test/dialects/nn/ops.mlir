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
func.func @f(%p: tensor<?xi32>) -> tensor<?x64xf32> {
  %t = nn.rotary_table %p theta = 1.0e4 : tensor<?x64xf32>
  return %t : tensor<?x64xf32>
}

// -----

// CHECK: nn.rope
func.func @f(%x: tensor<?x256xf32>, %t: tensor<?x64xf32>) -> tensor<?x256xf32> {
  %y = nn.rope half %x, %t : tensor<?x256xf32>, tensor<?x64xf32>
  return %y : tensor<?x256xf32>
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
