// RUN: moe-opt %s --convert-to-moex --split-input-file -verify-diagnostics

func.func @step(%tokens: tensor<?x8xf32> {moe.input = "raw", moe.modality = 0 : i64}) attributes {moe.function = {}} {
  // expected-error@+1 {{has no kernel operation: expected the operations that phase experts leaves}}
  %i, %w = moe.route %tokens score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<1>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  return
}

// -----

// expected-error@+1 {{expected operand 0 to name its batch field in 'moe.input'}}
func.func @step(%tokens: tensor<?xi32>) attributes {moe.function = {}} {
  return
}

// -----

// expected-error@+1 {{expected raw operand 0 to name its 'moe.modality'}}
func.func @step(%x: tensor<?x8xf32> {moe.input = "raw"}) attributes {moe.function = {}} {
  return
}
