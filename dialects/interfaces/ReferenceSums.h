//===- ReferenceSums.h - Sums of reference evaluation -----------*- C++ -*-===//
//
// Operations say in which order they add in f32. Where two engines add in other
// orders, neither is wrong; what tells how far each is off is a sum that has no
// order, because nothing in it is rounded.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_INTERFACES_REFERENCESUMS_H
#define MOEC_DIALECTS_INTERFACES_REFERENCESUMS_H

namespace moec {

/// Has reference evaluations of this process add in double, and round once
/// (moe-interp --exact-sums).
void setExactSums(bool areExact);
bool areSumsExact();

/// A sum of products: in f32, term by term, as operations define it, or exact.
class ReferenceSum {
public:
  explicit ReferenceSum(float start = 0.0f) : single(start), wide(start) {}

  void add(float x, float y) {
    single += x * y;
    wide += double(x) * double(y);
  }
  void add(float x) {
    single += x;
    wide += double(x);
  }
  float get() const {
    return areSumsExact() ? static_cast<float>(wide) : single;
  }

private:
  float single;
  double wide;
};

} // namespace moec

#endif // MOEC_DIALECTS_INTERFACES_REFERENCESUMS_H
