// RUN: moe-opt %s --decompose-routing | FileCheck %s

// Each stage adds its row operations, in the order in which they act.

// CHECK-LABEL: func.func @order_b(
// CHECK-SAME:    %[[Z:.*]]: tensor<?x8xf32>
// CHECK:       row.apply %[[Z]] : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
// CHECK-NEXT:  ^bb0(%[[R:.*]]: tensor<8xf32>):
// CHECK:         row.reduce max %[[R]]
// CHECK:         math.exp
// CHECK:         row.reduce sum
// CHECK:         %[[S:.*]] = row.map
// CHECK:         %{{.*}}, %[[I:.*]] = row.top_k %[[S]] : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
// CHECK:         row.gather %[[S]][%[[I]]]
// CHECK:         row.reduce sum
// CHECK:         row.yield
func.func @order_b(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// The bias moves selection and never the weights; ids count from the pool.
// CHECK-LABEL: func.func @biased(
// CHECK:       row.apply %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<4xbf16>)
// CHECK-NEXT:  ^bb0(%[[R:.*]]: tensor<4xf32>, %[[B:.*]]: tensor<4xbf16>):
// CHECK:         %[[S:.*]] = row.map %[[R]]
// CHECK:         %[[WIDE:.*]] = row.map %[[B]]
// CHECK:         %[[Q:.*]] = row.map %[[S]], %[[WIDE]]
// CHECK:         %{{.*}}, %[[I:.*]] = row.top_k %[[Q]]
// CHECK:         row.gather %[[S]][%[[I]]]
// CHECK:         arith.addi
func.func @biased(%z: tensor<?x4xf32>, %b: tensor<4xbf16>) -> (tensor<?x1xi32>, tensor<?x1xf32>) {
  %i, %w = moe.route %z operands(%b : tensor<4xbf16>) score(#moe.sigmoid) rank(#moe.biased_score) select(#moe.top_k<1>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<2.5>)
    pool_start = 3 : tensor<?x4xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %i, %w : tensor<?x1xi32>, tensor<?x1xf32>
}
