//===- TemperedSoftmax.cpp - Softmax of the logits over a temperature -----===//
//
// A stage of moec's own `route`:
//   route(logits, score = tempered_softmax(temperature = 0.5), ...)
//
//===----------------------------------------------------------------------===//
#include "Acme.h"

#include "dialects/row/RowBuilder.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace acme;
using namespace moec;

StringRef TemperedSoftmaxAttr::getSpelling() { return "tempered_softmax"; }
StageKind TemperedSoftmaxAttr::getStageKind() { return StageKind::Score; }

Signature TemperedSoftmaxAttr::getSignature() {
  return {{{"temperature",
            ArgumentKind::Real,
            /*mandatory=*/true,
            /*positional=*/true,
            {},
            "logits are divided by it"}}};
}

Attribute
TemperedSoftmaxAttr::build(MLIRContext *context,
                           ArrayRef<NamedStatic> arguments,
                           function_ref<InFlightDiagnostic()> emitError) {
  auto temperature = cast<FloatAttr>(arguments[0].value);
  if (!(temperature.getValueAsDouble() > 0.0)) {
    emitError() << "expected a temperature above 0, found "
                << temperature.getValueAsDouble();
    return {};
  }
  return get(context, temperature);
}

void TemperedSoftmaxAttr::lowerToken(OpBuilder &builder, Location loc,
                                     StageState &state) const {
  row::RowBuilder rows(builder, loc);
  Value temperature = rows.f32(getTemperature().getValueAsDouble());
  state.scores = rows.softmax(rows.div(state.logits, temperature));
}

void TemperedSoftmaxAttr::evaluate(StageValues &state) const {
  auto temperature = static_cast<float>(getTemperature().getValueAsDouble());
  float largest = *std::max_element(state.logits.begin(), state.logits.end());
  float sum = 0;
  state.scores.clear();
  for (float z : state.logits) {
    state.scores.push_back(std::exp((z - largest) / temperature));
    sum += state.scores.back();
  }
  for (float &score : state.scores)
    score /= sum;
}
