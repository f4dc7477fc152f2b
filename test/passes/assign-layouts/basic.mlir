// RUN: moe-opt %s --assign-formats --assign-layouts | FileCheck %s
// RUN: moe-opt %s --assign-formats --assign-layouts=target=nvptx | FileCheck %s --check-prefix=ALONE
// RUN: moe-opt %s --assign-formats --assign-layouts=target=nvptx,x86_64 | FileCheck %s --check-prefix=BOTH
// RUN: not moe-opt %s --assign-formats --assign-layouts=target=abacus 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: unknown target 'abacus'

// A device alone: its layout, no copies.
// ALONE: moe.weight @matrix {{.*}} layout = #moeq.row_blocks<64, 8>
// ALONE-NOT: moe.copy_of
// ALONE: moe.weight @norm {{.*}} layout = #moeq.row_major

// Beside a processor: copies of what lies in another layout, of nothing else.
// BOTH: moe.weight @matrix {{.*}} layout = #moeq.row_blocks<16, 2>
// BOTH: moe.weight @matrix.nvptx {{.*}} layout = #moeq.row_blocks<64, 8>
// BOTH-SAME: moe.copy_for = "nvptx", moe.copy_of = @matrix
// BOTH: moe.weight @single {{.*}} layout = #moeq.row_blocks<16>
// BOTH-NOT: @single.nvptx
// BOTH: moe.weight @tied.nvptx

// CHECK: moe.weight @matrix {{.*}} layout = #moeq.row_blocks<16, 2>
moe.weight @matrix : tensor<32x64xbf16> from [#moe.tensor<"matrix">]
// Codes of f32 lie alone.
// CHECK: moe.weight @single {{.*}} layout = #moeq.row_blocks<16>
moe.weight @single : tensor<32x64xf32> from [#moe.tensor<"single">]
// CHECK: moe.weight @norm {{.*}} layout = #moeq.row_major
moe.weight @norm : tensor<64xbf16> from [#moe.tensor<"norm">]
// CHECK: moe.weight @table {{.*}} layout = #moeq.row_major
moe.weight @table : tensor<256x64xbf16> from [#moe.tensor<"table">]
// Looked up and multiplied: one layout, the multiplication's.
// CHECK: moe.weight @tied {{.*}} layout = #moeq.row_blocks<16, 2>
moe.weight @tied : tensor<256x64xbf16> from [#moe.tensor<"tied">]
// CHECK: moe.weight @up {{.*}} layout = #moeq.row_blocks<16, 2>
moe.weight @up : tensor<32x64xbf16> from [#moe.tensor<"up">]
moe.weight @down : tensor<64x32xbf16> from [#moe.tensor<"down">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @down, up = @up}>]

func.func @f(%ids: tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x256xf32>) {
  %table = moe.weight_ref @table : tensor<256x64xbf16>
  %tied = moe.weight_ref @tied : tensor<256x64xbf16>
  %norm = moe.weight_ref @norm : tensor<64xbf16>
  %matrix = moe.weight_ref @matrix : tensor<32x64xbf16>
  %a = nn.embed %ids, %table : tensor<256x64xbf16> -> tensor<?x64xf32>
  %b = nn.embed %ids, %tied : tensor<256x64xbf16> -> tensor<?x64xf32>
  %n = nn.norm rms %a, %norm eps = 1.0e-6 : tensor<?x64xf32>, tensor<64xbf16> -> tensor<?x64xf32>
  %single = moe.weight_ref @single : tensor<32x64xf32>
  %s = nn.linear %n, %single compute = f32 : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %y = nn.linear %n, %matrix compute = f32 : tensor<?x64xf32>, tensor<32x64xbf16> -> tensor<?x32xf32>
  %z = nn.linear %b, %tied compute = f32 : tensor<?x64xf32>, tensor<256x64xbf16> -> tensor<?x256xf32>
  return %y, %z : tensor<?x32xf32>, tensor<?x256xf32>
}
