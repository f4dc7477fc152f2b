// RUN: moe-opt %s --split-input-file -verify-diagnostics
//
// One test per labelled constraint.

// moe.modality C1: range
// expected-error@+1 {{expected an id from 0 to 7, found 8}}
moe.modality @m id = 8 token vocab = 4

// -----

// moe.modality C1: unique
// expected-error@+1 {{has the id of "b"}}
moe.modality @a id = 0 token vocab = 4
moe.modality @b id = 0 token vocab = 4

// -----

// moe.modality C2
// expected-error@+1 {{expected either a vocabulary or a raw type}}
moe.modality @m id = 0

// -----

// moe.modality C3
// expected-error@+1 {{expected one token per id, found 2}}
moe.modality @m id = 0 token vocab = 4 tokens = 2

// -----

// moe.entry C1
// expected-error@+1 {{expected a function @step, found none}}
moe.entry @e function = @step layout = []

// -----

// moe.entry C2
func.func private @step()
// expected-error@+1 {{expected a layout of #moe.segment, found 1}}
moe.entry @e function = @step layout = [1]

// -----

// moe.weight C1
// expected-error@+1 {{expected a static tensor of f32, bf16, f16 or i32, found 'tensor<?xf32>'}}
moe.weight @w : tensor<?xf32> from [#moe.tensor<"w">]

// -----

// moe.weight C2: begins with a tensor
// expected-error@+1 {{expected a recipe that begins with #moe.tensor}}
moe.weight @w : tensor<8xf32> from [#moe.transpose]

// -----

// moe.weight C2: only steps
// expected-error@+1 {{expected recipe steps, found 3}}
moe.weight @w : tensor<8xf32> from [#moe.tensor<"w">, 3]

// -----

// moe.weight_ref C1: no such weight
func.func @f() {
  // expected-error@+1 {{expected a moe.weight @w, found none}}
  %w = moe.weight_ref @w : tensor<8xf32>
  return
}

// -----

// moe.weight_ref C1: type
// expected-note@+1 {{the weight is declared here}}
moe.weight @w : tensor<4xf32> from [#moe.tensor<"w">]
func.func @f() {
  // expected-error@+1 {{expected the weight's type 'tensor<4xf32>', found 'tensor<8xf32>'}}
  %w = moe.weight_ref @w : tensor<8xf32>
  return
}

// -----

// moe.expert_table C1: body
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
// expected-error@+1 {{expected body "glu", "mlp" or "linear", found "film"}}
moe.expert_table @e body = "film" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]

// -----

// moe.expert_table C1: experts
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
// expected-error@+1 {{expected at least one expert, found none}}
moe.expert_table @e body = "mlp" []

// -----

// moe.expert_table C1: entries
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
// expected-error@+1 {{expected entries #moe.expert, found 1}}
moe.expert_table @e body = "mlp" [1]

// -----

// moe.expert_table C1: roles
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
// expected-error@+1 {{expected a weight for each role of body "glu"}}
moe.expert_table @e body = "glu" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]

// -----

// moe.expert_table C2: symbol
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
// expected-error@+1 {{expected a moe.weight @x, found none}}
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @x, up = @u}>]

// -----

// moe.expert_table C2: width
// expected-note@+1 {{the weight is declared here}}
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
// expected-error@+1 {{expert 0: expected 'down' of width 16 and the table's hidden size}}
moe.expert_table @e body = "mlp" [#moe.expert<width = 16, weights = {down = @d, up = @u}>]

// -----

// moe.expert_table C3: kind
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
// expected-error@+1 {{expected virtual experts "identity", "null" or "constant", found "zero"}}
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>, #moe.virtual<"zero">]

// -----

// moe.expert_table C3: a constant without its vector
// expected-error@+1 {{expected a weight with a constant only, found #moe.virtual<"constant">}}
moe.expert_table @e body = "mlp" [#moe.virtual<"constant">]

// -----

// moe.expert_table C3: width of a constant
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.weight @c : tensor<32xbf16> from [#moe.tensor<"c">]
// expected-error@+1 {{expected a constant as wide as the experts' results, found 'tensor<32xbf16>'}}
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>, #moe.virtual<"constant", weight = @c>]

// -----

// moe.expert_table C1: a bias of no role
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.weight @b : tensor<32xbf16> from [#moe.tensor<"b">]
// expected-error@+1 {{expected a weight for each role of body "mlp"}}
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, gate_bias = @b, up = @u}>]

// -----

// moe.expert_table C2: width of a bias
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
// expected-note@+1 {{the weight is declared here}}
moe.weight @b : tensor<64xbf16> from [#moe.tensor<"b">]
// expected-error@+1 {{expert 0: expected 'up_bias' of width 32 and the table's hidden size, found 'tensor<64xbf16>'}}
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u, up_bias = @b}>]

// -----

// moe.expert_table C3: width
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<16x32xbf16> from [#moe.tensor<"d">]
// expected-error@+1 {{expected experts that keep the width, beside an identity; they are from 64 to 16}}
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>, #moe.virtual<"null">, #moe.virtual<"identity">]

// -----

// moe.merge_modalities C1
func.func @f(%t: tensor<?xi32>, %k: tensor<?xi8>, %a: tensor<?x64xf32>, %b: tensor<?x32xf32>) {
  // expected-error@+1 {{expected one different id and one flag for each of 2 streams}}
  %x = moe.merge_modalities %t, %k (%a, %a) ids = [0, 0] indexed = [false, true] : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return
}

// -----

// moe.merge_modalities C2
func.func @f(%t: tensor<?xi32>, %k: tensor<?xi8>, %a: tensor<?x64xf32>, %b: tensor<?x32xf32>) {
  // expected-error@+1 {{expected streams of the result's type 'tensor<?x64xf32>', found 'tensor<?x32xf32>'}}
  %x = moe.merge_modalities %t, %k (%a, %b) ids = [0, 1] indexed = [false, true] : tensor<?x64xf32>, tensor<?x32xf32> -> tensor<?x64xf32>
  return
}

// -----

// moe.by_modality C1
func.func @f(%k: tensor<?xi8>, %a: tensor<?x64xf32>) {
  // expected-error@+1 {{expected one different id for each of 1 arms}}
  %x = moe.by_modality %k ids = [0, 1] : tensor<?x64xf32> {
    moe.yield %a : tensor<?x64xf32>
  }
  return
}

// -----

// moe.by_modality C2
func.func @f(%k: tensor<?xi8>, %a: tensor<?x32xf32>) {
  // expected-error@+1 {{expected every arm to yield one 'tensor<?x64xf32>'}}
  %x = moe.by_modality %k ids = [0] : tensor<?x64xf32> {
    moe.yield %a : tensor<?x32xf32>
  }
  return
}

// -----

// moe.experts C1: table
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>) {
  // expected-error@+1 {{expected a moe.expert_table @e, found none}}
  %r = moe.experts @e %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x64xf32>
  return
}

// -----

// moe.experts C1: width
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>) {
  // expected-error@+1 {{expected experts from 32 to 64, the table's are from 64 to 64}}
  %r = moe.experts @e %y routed(%i, %w) act = relu compute = f32 : tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x64xf32>
  return
}

// -----

// moe.experts C2
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>) {
  // expected-error@+1 {{expected as many weights as slots: 2, found 1}}
  %r = moe.experts @e %x routed(%i, %v) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return
}

// -----

// moe.plan C1
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>) {
  // expected-error@+1 {{expected 5 offsets, found 9}}
  %r, %o, %s = moe.plan %i experts = 4 : tensor<?x2xi32> -> tensor<9xi32>
  return
}

// -----

// moe.route_plan C1
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a body from the rows of the operands to those of ids and weights}}
  %ids, %w, %rows, %offsets, %slots = moe.route_plan %z experts = 8 : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?xi32>, tensor<9xi32>, tensor<?x2xi32>) {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %v, %i : tensor<2xf32>, tensor<2xi32>
  }
  return
}

// -----

// moe.route_plan C2
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected 5 offsets and slot rows like the ids}}
  %ids, %w, %rows, %offsets, %slots = moe.route_plan %z experts = 4 : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?xi32>, tensor<9xi32>, tensor<?x2xi32>) {
  ^bb0(%r: tensor<8xf32>):
    %v, %i = row.top_k %r : tensor<8xf32> -> tensor<2xf32>, tensor<2xi32>
    row.yield %i, %v : tensor<2xi32>, tensor<2xf32>
  }
  return
}

// -----

// moe.grouped_matmul C1: table
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>, %o: tensor<2xi32>, %q: tensor<3xi32>) {
  // expected-error@+1 {{expected a moe.expert_table @e, found none}}
  %r = moe.grouped_matmul @e ["up"] %x segments(%o) compute = f32 : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32>
  return
}

// -----

// moe.grouped_matmul C1: role
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>, %o: tensor<2xi32>, %q: tensor<3xi32>) {
  // expected-error@+1 {{expected experts with the role "gate", expert 0 has none}}
  %r = moe.grouped_matmul @e ["gate"] %x segments(%o) compute = f32 : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32>
  return
}

// -----

// moe.grouped_matmul C2
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>, %o: tensor<2xi32>, %q: tensor<3xi32>) {
  // expected-error@+1 {{expected a map from 32 to 32, expert 0 has 'tensor<32x64xbf16>'}}
  %r = moe.grouped_matmul @e ["up"] %y segments(%o) compute = f32 : tensor<?x32xf32>, tensor<2xi32> -> tensor<?x32xf32>
  return
}

// -----

// moe.grouped_matmul C3: several roles
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>, %o: tensor<2xi32>, %q: tensor<3xi32>) {
  // expected-error@+1 {{expected one role, or an epilogue for several; found 2 roles}}
  %r = moe.grouped_matmul @e ["up", "up"] %x segments(%o) compute = f32 : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32>
  return
}

// -----

// moe.grouped_matmul C3: body
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %o: tensor<2xi32>) {
  // expected-error@+1 {{expected an epilogue from 1 f32 to f32}}
  %r = moe.grouped_matmul @e ["up"] %x segments(%o) compute = f32 : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32> {
  ^bb0(%a: f32, %b: f32):
    moe.yield %a : f32
  }
  return
}

// -----

// moe.grouped_matmul C4
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>, %o: tensor<2xi32>, %q: tensor<3xi32>) {
  // expected-error@+1 {{expected 2 segment offsets, found 3}}
  %r = moe.grouped_matmul @e ["up"] %x segments(%q) compute = f32 : tensor<?x64xf32>, tensor<3xi32> -> tensor<?x32xf32>
  return
}

// -----

// moe.combine C1
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>) {
  // expected-error@+1 {{expected as many weights as slots: 2, found 1}}
  %r = moe.combine %x[%i] scale(%v) : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return
}

// -----

// moe.combine C2
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %v: tensor<?x1xf32>, %y: tensor<?x32xf32>) {
  // expected-error@+1 {{expected a result of width 64, found 32}}
  %r = moe.combine %x[%i] scale(%w) : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x32xf32>
  return
}

// -----

// moe.route C1
func.func @f(%z: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{expected a 'score' stage, found #moe.by_score, a 'rank' stage}}
  %i, %w = moe.route %z score(#moe.by_score) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C2
func.func @f(%z: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{expected k from 1 to 8, the experts of the pool, found 9}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<9>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x9xi32>, tensor<?x9xf32>
  return
}

// -----

// moe.route C2: groups that do not divide the pool
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected groups that divide the 8 experts of the pool, found 3}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<3, keep = 1, by = "max", outside = "0">) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C2: kept groups
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected to keep 1 to 4 groups, found 5}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<4, keep = 5, by = "max", outside = "0">) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C2: too few experts in the kept groups
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected kept groups with at least 3 experts, found 2}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<4, keep = 1, by = "max", outside = "0">) select(#moe.top_k<3>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  return
}

// -----

// moe.route C2: no two experts in a group
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected groups of at least 2 experts for top2_sum, found 1}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<8, keep = 4, by = "top2_sum", outside = "0">) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C2: words of a stage
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected by = max or top2_sum, found "mean"}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<4, keep = 2, by = "mean", outside = "0">) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C2: words of a stage
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected outside = -inf or 0, found "1"}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.groups<4, keep = 2, by = "max", outside = "1">) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C2: the share of top_p
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected p above 0 and at most 1, found 0}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_p<0.0, until = "crossing">) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  return
}

// -----

// moe.route C2: the boundary of top_p
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected until = crossing or count_below, found "below"}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_p<0.5, until = "below">) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  return
}

// -----

// moe.route C1: a stage in the place of groups
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a 'groups' stage, found #moe.by_score, a 'rank' stage}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) groups(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C3: number
func.func @f(%z: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{expected 1 stage operands, found 0}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.biased_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C3: width
func.func @f(%z: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{expected the 'rank' operand to be 8 wide, found 'tensor<4xf32>'}}
  %i, %w = moe.route %z operands(%b : tensor<4xf32>) score(#moe.softmax) rank(#moe.biased_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.product_keys C1
func.func @f(%z: tensor<?x65536xf32>) {
  // expected-error@+1 {{expected at most 2147483647 experts, found 65536 rows of 65536}}
  %i, %w = moe.product_keys %z, %z k = 1 weigh = "softmax" : tensor<?x65536xf32>, tensor<?x65536xf32>
  return
}

// -----

// moe.product_keys C2: no slots
func.func @f(%z: tensor<?x2xf32>) {
  // expected-error@+1 {{expected k of at least 1, found 0}}
  %i, %w = moe.product_keys %z, %z k = 0 weigh = "softmax" : tensor<?x2xf32>, tensor<?x2xf32>
  return
}

// -----

// moe.product_keys C2
func.func @f(%z: tensor<?x2xf32>) {
  // expected-error@+1 {{expected k from 1 to 4, the number of experts, found 5}}
  %i, %w = moe.product_keys %z, %z k = 5 weigh = "softmax" : tensor<?x2xf32>, tensor<?x2xf32>
  return
}

// -----

// moe.product_keys C3
func.func @f(%z: tensor<?x2xf32>) {
  // expected-error@+1 {{expected weigh to be softmax, sigmoid or identity, found 'max'}}
  %i, %w = moe.product_keys %z, %z k = 1 weigh = "max" : tensor<?x2xf32>, tensor<?x2xf32>
  return
}

// -----

// moe.select_routing C1
func.func @f(%k: tensor<?xi8>, %a: tensor<?x2xi32>, %c: tensor<?x2xf32>, %e: tensor<?x1xf32>) {
  // expected-error@+1 {{expected one different modality, one offset and one weights operand for each of 2 arms}}
  %i, %w = moe.select_routing %k ids(%a, %a) weights(%c, %c) modalities = [0, 0] offsets = [0, 4] experts = 8 : tensor<?xi8>, (tensor<?x2xi32>, tensor<?x2xi32>), (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.select_routing C2
func.func @f(%k: tensor<?xi8>, %a: tensor<?x2xi32>, %c: tensor<?x2xf32>, %e: tensor<?x1xf32>) {
  // expected-error@+1 {{expected arms of at most 2 slots with as many weights}}
  %i, %w = moe.select_routing %k ids(%a, %a) weights(%c, %e) modalities = [0, 1] offsets = [0, 4] experts = 8 : tensor<?xi8>, (tensor<?x2xi32>, tensor<?x2xi32>), (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.export_routing C1
func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x3xf32>) {
  // expected-error@+1 {{expected as many weights as ids, found 'tensor<?x3xf32>' and 'tensor<?x2xi32>'}}
  moe.export_routing %i, %w {router = 0 : i64} : tensor<?x2xi32>, tensor<?x3xf32>
  return
}

// -----

// moe.export_routing C2
func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %k: tensor<?xi8>) {
  // expected-error@+1 {{expected 'kind' exactly when there are kinds}}
  moe.export_routing %i, %w kinds %k {router = 0 : i64} : tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C4
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a selection that makes weights for #moe.sparse_mixer_weight, found #moe.top_k<2>}}
  %i, %w = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.sparse_mixer_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C5
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected 'always' to be a part at one end of 8 columns, found [2, 4]}}
  %i, %w = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) always = [2, 4] : tensor<?x8xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  return
}

// -----

// moe.route C2: beside experts that are selected always
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected k from 1 to 6, the experts of the pool, found 7}}
  %i, %w = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.top_k<7>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) always = [6, 8] : tensor<?x8xf32> -> tensor<?x9xi32>, tensor<?x9xf32>
  return
}

// -----

// moe.route C2: sparse_mixer, threshold, fixed, skip
func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected eps of at least 0, found -1.000000e-01}}
  %i, %w = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.sparse_mixer<2, eps = -0.1>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected at_least from 0 to 8, the experts of the pool, found 9}}
  %i, %w = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.threshold<0.1, at_least = 9>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  return
}

// -----

func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a column from 0 to 7 of the pool, found 8}}
  %i, %w = moe.route %z score(#moe.identity) rank(#moe.by_score) select(#moe.fixed<8>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  return
}

// -----

func.func @f(%z: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a share from 0 to 1, found 2}}
  %i, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) skip(#moe.ratio_skip<2.0, renorm = "sum">) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.expert_table C2: linear experts of one width
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
// expected-note@+1 {{the weight is declared here}}
moe.weight @v : tensor<16x64xbf16> from [#moe.tensor<"v">]
// expected-error@+1 {{expert 1: expected 'up' of width 16 and the table's hidden size, found 'tensor<16x64xbf16>'}}
moe.expert_table @e body = "linear" [#moe.expert<width = 32, weights = {up = @u}>, #moe.expert<width = 16, weights = {up = @v}>]

// -----

// moe.experts C2: slot
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.expert_table @e body = "linear" [#moe.expert<width = 32, weights = {up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error@+1 {{expected a slot from 0 to 1, found 2}}
  %r = moe.experts @e %x routed(%i, %w) act = identity compute = f32 {slot = 2 : i64} : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x32xf32>
  return
}

// -----

// moe.experts C3: linear experts
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.expert_table @e body = "linear" [#moe.expert<width = 32, weights = {up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) {
  // expected-error@+1 {{expected no activation of linear experts, found silu}}
  %r = moe.experts @e %x routed(%i, %w) act = silu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x32xf32>
  return
}

// -----

// moe.experts C3
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) {
  // expected-error@+1 {{expected clamp and up_offset with a gate only}}
  %r = moe.experts @e %x routed(%i, %w) act = relu compute = f32 {clamp_before = 7.0} : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return
}

// -----

// moe.experts C1: experts without matrices
moe.expert_table @e body = "mlp" [#moe.virtual<"identity">]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) {
  // expected-error@+1 {{expected experts from 64 to 32, found #moe.virtual<"identity">}}
  %r = moe.experts @e %x routed(%i, %w) act = relu compute = f32 : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x32xf32>
  return
}

// -----

// moe.grouped_matmul C5
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.weight @b : tensor<32xbf16> from [#moe.tensor<"b">]
moe.weight @c : tensor<64xbf16> from [#moe.tensor<"c">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, down_bias = @c, up = @u, up_bias = @b}>]
func.func @f(%x: tensor<?x64xf32>, %o: tensor<2xi32>) {
  // expected-error@+1 {{expected one bias per role, or none; found 2 for 1 roles}}
  %h = moe.grouped_matmul @e ["up"] biases ["up_bias", "up_bias"] %x segments(%o) compute = f32 : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32>
  return
}

// -----

// moe.grouped_matmul C5: width
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.weight @c : tensor<64xbf16> from [#moe.tensor<"c">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, down_bias = @c, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %o: tensor<2xi32>) {
  // expected-error@+1 {{expected a bias of 32, expert 0 has 'tensor<64xbf16>'}}
  %h = moe.grouped_matmul @e ["up"] biases ["down_bias"] %x segments(%o) compute = f32 : tensor<?x64xf32>, tensor<2xi32> -> tensor<?x32xf32>
  return
}

// -----

// moe.share C1
func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x1xf32>) {
  // expected-error@+1 {{expected as many weights as ids and a result tensor<?x1xf32>}}
  %y = moe.share %i, %w expert = 3 : tensor<?x2xi32>, tensor<?x1xf32> -> tensor<?x1xf32>
  return
}

// -----

// moe.limit_slots C1
func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x1xf32>, %c: tensor<?xi32>) {
  // expected-error@+1 {{expected as many weights as ids}}
  %j, %v = moe.limit_slots %i, %w of %c experts = 8 millionths = 1250000 multiple = 4 : tensor<?x2xi32>, tensor<?x1xf32>
  return
}

// -----

// moe.limit_slots C2
func.func @f(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %c: tensor<?xi32>) {
  // expected-error@+1 {{expected up to 65536 experts, up to 1000000000 millionths and a positive multiple, found 8, 0 and 4}}
  %j, %v = moe.limit_slots %i, %w of %c experts = 8 millionths = 0 multiple = 4 : tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.table_rows C1
func.func @f(%t: tensor<?xi32>, %h: tensor<16x3xi32>) {
  // expected-error@+1 {{expected a table [V, 2] of i32, found 'tensor<16x3xi32>'}}
  %r = moe.table_rows %t of %h : tensor<16x3xi32> -> tensor<?x2xi32>
  return
}

// -----

// moe.route C3: numbers where ids are read
func.func @f(%z: tensor<?x8xf32>, %b: tensor<?x2xf32>) {
  // expected-error@+1 {{expected the 'select' operand to be 8 wide, found 'tensor<?x2xf32>'}}
  %i, %w = moe.route %z operands(%b : tensor<?x2xf32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.hash<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C2: more ids than experts
func.func @f(%z: tensor<?x8xf32>, %b: tensor<?x9xi32>) {
  // expected-error@+1 {{expected k from 1 to 8, the experts of the pool, found 9}}
  %i, %w = moe.route %z operands(%b : tensor<?x9xi32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.hash<9>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) : tensor<?x8xf32> -> tensor<?x9xi32>, tensor<?x9xf32>
  return
}

// -----

// moe.routing_operand C1
func.func @f() {
  // expected-error@+1 {{expected one of ids, weights, bias, mask and count, found "rank"}}
  %b = moe.routing_operand "rank" router = 0 -> tensor<8xf32>
  return
}

// -----

// moe.routing_operand C2
func.func @f() {
  // expected-error@+1 {{expected the type of "mask" and no operand, found 'tensor<8xf32>'}}
  %m = moe.routing_operand "mask" router = 0 -> tensor<8xf32>
  return
}

// -----

// moe.routing_operand C2: rows
func.func @f() {
  // expected-error@+1 {{expected the type of "ids" and an operand with its rows, found 'tensor<?x2xi32>'}}
  %i = moe.routing_operand "ids" router = 0 -> tensor<?x2xi32>
  return
}

// -----

// moe.route C6
func.func @f(%z: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error@+1 {{expected 'run_time' to name different ones of ids, bias, mask and count, each with an operand, found ["bias", "bias"]}}
  %i, %w = moe.route %z operands(%b, %b : tensor<8xf32>, tensor<8xf32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) run_time = ["bias", "bias"] : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C6: width
func.func @f(%z: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error@+1 {{expected 'bias' to be 11 wide, found 'tensor<8xf32>'}}
  %i, %w = moe.route %z operands(%b : tensor<8xf32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.top_k<2>) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) pool_start = 3 run_time = ["bias"] : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

// moe.route C7: count
func.func @f(%z: tensor<?x8xf32>, %n: tensor<1xi32>) {
  // expected-error@+1 {{expected a selection in order of rank beside 'count', found #moe.all}}
  %i, %w = moe.route %z operands(%n : tensor<1xi32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.all) weigh(#moe.by_score_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) run_time = ["count"] : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
  return
}

// -----

// moe.route C7: ids
func.func @f(%z: tensor<?x8xf32>, %n: tensor<?x2xi32>) {
  // expected-error@+1 {{expected weights that any expert has beside 'ids', found #moe.sparse_mixer_weight}}
  %i, %w = moe.route %z operands(%n : tensor<?x2xi32>) score(#moe.softmax) rank(#moe.by_score) select(#moe.sparse_mixer<2, eps = 0.1>) weigh(#moe.sparse_mixer_weight) renorm(#moe.no_renorm) scale(#moe.factor<1.0>) run_time = ["ids"] : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}
