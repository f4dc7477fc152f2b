// RUN: moe-opt %s --check-routers -verify-diagnostics

// Pairs of keys: the few that are looked at hold the best of all of them.

func.func @f(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>, %a: tensor<?x3xf32>, %b: tensor<?x5xf32>, %c: tensor<?x1xf32>) {
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i0, %w0 = moe.product_keys %x, %y k = 3 weigh = "softmax" : tensor<?x8xf32>, tensor<?x8xf32>
  // More experts than a side has keys, and all there are.
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i1, %w1 = moe.product_keys %x, %y k = 20 weigh = "sigmoid" : tensor<?x8xf32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i2, %w2 = moe.product_keys %a, %b k = 15 weigh = "identity" : tensor<?x3xf32>, tensor<?x5xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i3, %w3 = moe.product_keys %b, %a k = 7 weigh = "softmax" : tensor<?x5xf32>, tensor<?x3xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i4, %w4 = moe.product_keys %c, %y k = 1 weigh = "softmax" : tensor<?x1xf32>, tensor<?x8xf32>
  return
}
