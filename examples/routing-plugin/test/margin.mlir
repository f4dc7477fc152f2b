// The op reads and prints, lowers to the row dialect, and the lowering agrees
// with the reference on random inputs.

// RUN: moe-opt %acme --verify-roundtrip %s | FileCheck %s
// RUN: moe-opt %acme --decompose-routing %s | FileCheck %s --check-prefix=ROW
// RUN: moe-opt %acme --check-routers %s

// CHECK-LABEL: func @best_of_eight
// CHECK: acme.margin %{{.*}} k = 3 ratio = 5.000000e-01 : tensor<?x8xf32>

// ROW-LABEL: func @best_of_eight
// ROW-NOT: acme.margin
// ROW: row.apply
// ROW: row.top_k {{.*}} : tensor<8xf32> -> tensor<3xf32>, tensor<3xi32>
// ROW: arith.cmpf oge
func.func @best_of_eight(%z: tensor<?x8xf32>)
    -> (tensor<?x3xi32>, tensor<?x3xf32>) {
  %ids, %w = acme.margin %z k = 3 ratio = 0.5 : tensor<?x8xf32>
  return %ids, %w : tensor<?x3xi32>, tensor<?x3xf32>
}

// Every expert, and none but the best.
// ROW-LABEL: func @extremes
// ROW-NOT: acme.margin
func.func @extremes(%z: tensor<?x5xf32>)
    -> (tensor<?x5xi32>, tensor<?x1xf32>) {
  %ids, %w = acme.margin %z k = 5 ratio = 0.0 : tensor<?x5xf32>
  %ids1, %w1 = acme.margin %z k = 1 ratio = 1.0 : tensor<?x5xf32>
  return %ids, %w1 : tensor<?x5xi32>, tensor<?x1xf32>
}
