// A stage of the plugin inside moec's own router.

// RUN: moe-opt %acme --verify-roundtrip %s | FileCheck %s
// RUN: moe-opt %acme --decompose-routing %s | FileCheck %s --check-prefix=ROW
// RUN: moe-opt %acme --check-routers %s

// CHECK: score(#acme.tempered_softmax<5.000000e-01 : f64>)
// ROW-NOT: moe.route
// ROW: row.apply
// ROW: arith.divf
func.func @f(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %z score(#acme.tempered_softmax<0.5>)
    rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}
