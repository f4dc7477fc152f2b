// RUN: moe-opt %s --check-routers -verify-diagnostics

// Every stage once: reference and lowering agree on random tokens with ties.

func.func @f(%z: tensor<?x8xf32>, %b: tensor<8xbf16>, %k: tensor<?xi8>, %c: tensor<?x6xf32>, %s: tensor<8xf32>, %t: tensor<?x1xf32>) {
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i0, %w0 = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<3>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i1, %w1 = moe.route %z operands(%b : tensor<8xbf16>) score(#moe.sigmoid) rank(#moe.biased_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<1.0e-20>) scale(#moe.factor<2.5>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i2, %w2 = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.top_k<4>) weigh(#moe.selected_softmax) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i3, %w3 = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.top_k<1>) weigh(#moe.selected_sigmoid) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) pool_start = 5 : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i4, %w4 = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.all) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i5, %w5 = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<1>) weigh(#moe.one) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i6, %w6 = moe.select_routing %k ids(%i1, %i5) weights(%w1, %w5) modalities = [1, 3] offsets = [0, 8] experts = 16 : tensor<?xi8>, (tensor<?x2xi32>, tensor<?x1xi32>), (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x3xi32>, tensor<?x3xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i7, %w7 = moe.route %z operands(%b : tensor<8xbf16>) score(#moe.sigmoid) rank(#moe.biased_score) groups(#moe.groups<4, keep = 2, by = "top2_sum", outside = "0">) select(#moe.top_k<3>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<1.0e-20>) scale(#moe.factor<2.5>) : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i8, %w8 = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<2, keep = 1, by = "max", outside = "-inf">) select(#moe.top_k<4>) weigh(#moe.selected_softmax) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  // Slots that top_p leaves unused have id -1 and weight 0, whatever weighs.
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i9, %w9 = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_p<0.6, until = "crossing">) weigh(#moe.selected_softmax) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) pool_start = 8 : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i10, %w10 = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_p<0.6, until = "count_below">) weigh(#moe.selected_sigmoid) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i11, %w11 = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_p<1.0, until = "crossing">) weigh(#moe.one) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i12, %w12 = moe.route %z operands(%c, %s : tensor<?x6xf32>, tensor<8xf32>) score(#moe.sqrt_softplus) rank(#moe.by_value) select(#moe.threshold<0.5, at_least = 1>) weigh(#moe.by_score_weight) renorm(#moe.at_least_renorm<2.0>) scale(#moe.factors) skip(#moe.ratio_skip<0.8, renorm = "sum">) always = [0, 2] pool_start = 3 : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i13, %w13 = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.sparse_mixer<4, eps = 0.3>) weigh(#moe.sparse_mixer_weight) renorm(#moe.norm_renorm<3.0>) scale(#moe.factor<1.0>) skip(#moe.below_skip<0.6, renorm = "none">) : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i14, %w14 = moe.route %z operands(%t : tensor<?x1xf32>) score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<3, keep = 2, by = "max", outside = "-inf">) select(#moe.top_k<2>) weigh(#moe.selected_softmax) renorm(#moe.norm_renorm<1.0>) scale(#moe.factors) always = [6, 8] : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i15, %w15 = moe.route %z score(#moe.sigmoid) rank(#moe.by_score) select(#moe.fixed<5>) weigh(#moe.one) renorm(#moe.norm_renorm<2.0>) scale(#moe.factor<1.0>) skip(#moe.below_skip<2.0, renorm = "sum">) : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  // No expert may be left.
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i16, %w16 = moe.route %z score(#moe.sigmoid) rank(#moe.by_score) select(#moe.threshold<0.9, at_least = 0>) weigh(#moe.selected_sigmoid) renorm(#moe.at_least_renorm<1.0e-12>) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %i17, %w17 = moe.route %z score(#moe.sigmoid) rank(#moe.by_score) select(#moe.threshold<0.9, at_least = 0>) weigh(#moe.selected_softmax) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  return
}

// What the caller of a step gives: alone, together, with a pool that does not begin
// at 0, with groups, with experts that are always selected and with each kind of
// selection.
func.func @run_time(%z: tensor<?x8xf32>, %b: tensor<8xf32>, %m: tensor<8xi32>, %m5: tensor<13xi32>, %b5: tensor<13xf32>, %n: tensor<1xi32>, %i2: tensor<?x2xi32>, %i3: tensor<?x3xi32>, %i4: tensor<?x4xi32>, %h: tensor<?x2xi32>) {
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a0, %w0 = moe.route %z operands(%b : tensor<8xf32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<3>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) run_time = ["bias"] : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a1, %w1 = moe.route %z operands(%b, %m : tensor<8xf32>, tensor<8xi32>) score(#moe.sigmoid) rank(#moe.biased_score) groups(#moe.groups<4, keep = 2, by = "top2_sum", outside = "0">) select(#moe.top_k<3>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) run_time = ["mask"] : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a2, %w2 = moe.route %z operands(%n : tensor<1xi32>) score(#moe.identity) rank(#moe.by_score) select(#moe.top_k<4>) weigh(#moe.selected_softmax) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) run_time = ["count"] : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a3, %w3 = moe.route %z operands(%i2 : tensor<?x2xi32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) run_time = ["ids"] : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a4, %w4 = moe.route %z operands(%b5, %m5, %n : tensor<13xf32>, tensor<13xi32>, tensor<1xi32>) score(#moe.sqrt_softplus) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.selected_sigmoid) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) pool_start = 5 run_time = ["bias", "mask", "count"] : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a5, %w5 = moe.route %z operands(%m, %i4 : tensor<8xi32>, tensor<?x4xi32>) score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<3, keep = 2, by = "max", outside = "-inf">) select(#moe.top_k<2>) weigh(#moe.selected_softmax) renorm(#moe.norm_renorm<1.0>) scale(#moe.factor<2.0>) always = [6, 8] run_time = ["mask", "ids"] : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a6, %w6 = moe.route %z operands(%b, %m, %n : tensor<8xf32>, tensor<8xi32>, tensor<1xi32>) score(#moe.identity) rank(#moe.by_score) select(#moe.sparse_mixer<4, eps = 0.3>) weigh(#moe.sparse_mixer_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) run_time = ["bias", "mask", "count"] : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a7, %w7 = moe.route %z operands(%m, %n : tensor<8xi32>, tensor<1xi32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.top_p<0.6, until = "crossing">) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) run_time = ["mask", "count"] : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a8, %w8 = moe.route %z operands(%h, %m : tensor<?x2xi32>, tensor<8xi32>) score(#moe.sigmoid) rank(#moe.by_score) select(#moe.hash<2>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) run_time = ["mask"] : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark@+1 {{lowerToken agrees with evaluate on 64 tokens}}
  %a9, %w9 = moe.route %z operands(%i3 : tensor<?x3xi32>) score(#moe.sigmoid) rank(#moe.by_score) select(#moe.top_k<3>) weigh(#moe.by_score_weight) renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>) skip(#moe.ratio_skip<0.8, renorm = "sum">) run_time = ["ids"] : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  return
}
