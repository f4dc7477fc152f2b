// RUN: moe-opt %acme --split-input-file --verify-diagnostics %s

// C1
func.func @f(%z: tensor<?x8xf16>) {
  // expected-error @+1 {{'acme.margin' op expected logits tensor<?xExf32>, found 'tensor<?x8xf16>'}}
  %ids, %w = acme.margin %z k = 3 ratio = 0.5 : tensor<?x8xf16>
  return
}

// -----

// C1
func.func @f(%z: tensor<4x8xf32>) {
  // expected-error @+1 {{'acme.margin' op expected logits tensor<?xExf32>, found 'tensor<4x8xf32>'}}
  %ids, %w = acme.margin %z k = 3 ratio = 0.5 : tensor<4x8xf32>
  return
}

// -----

// C2
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error @+1 {{expected k of at least 1, found 0}}
  %ids, %w = acme.margin %z k = 0 ratio = 0.5 : tensor<?x8xf32>
  return
}

// -----

// C2
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error @+1 {{'acme.margin' op expected k of at most 8, the number of experts, found 9}}
  %ids, %w = acme.margin %z k = 9 ratio = 0.5 : tensor<?x8xf32>
  return
}

// -----

// C3
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error @+1 {{'acme.margin' op expected ratio from 0 to 1, found 1.5}}
  %ids, %w = acme.margin %z k = 3 ratio = 1.5 : tensor<?x8xf32>
  return
}
