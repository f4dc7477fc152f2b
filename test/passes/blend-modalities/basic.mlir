// RUN: moe-opt %s --blend-modalities -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func.func @blend(
// CHECK-SAME:    %[[K:.*]]: tensor<?xi8>, %[[A:.*]]: tensor<?x64xf32>, %[[B:.*]]: tensor<?x64xf32>
// CHECK-NEXT:  row.apply %[[K]], %[[A]], %[[B]]
// CHECK-NEXT:  ^bb0(%[[KIND:.*]]: i8, %[[RA:.*]]: tensor<64xf32>, %[[RB:.*]]: tensor<64xf32>):
// CHECK-NEXT:    %[[ID:.*]] = arith.constant 2 : i8
// CHECK-NEXT:    %[[IS:.*]] = arith.cmpi eq, %[[KIND]], %[[ID]]
// CHECK-NEXT:    row.select %[[IS]], %[[RA]], %[[RB]]
func.func @blend(%k: tensor<?xi8>, %a: tensor<?x64xf32>, %b: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-remark@+1 {{every arm is computed for all tokens}}
  %y = moe.by_modality %k ids = [2, 0] : tensor<?x64xf32> {
    moe.yield %a : tensor<?x64xf32>
  }, {
    moe.yield %b : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}
