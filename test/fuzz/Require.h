//===- Require.h - What must hold for every input ---------------*- C++ -*-===//
#ifndef MOEC_TEST_FUZZ_REQUIRE_H
#define MOEC_TEST_FUZZ_REQUIRE_H

#include <cstdio>
#include <cstdlib>
#include <string>

/// Ends the process, which libFuzzer reports as a finding.
inline void require(bool holds, const char *what,
                    const std::string &details = "") {
  if (holds)
    return;
  std::fprintf(stderr, "fuzz: expected: %s\n%s", what, details.c_str());
  std::abort();
}

#endif // MOEC_TEST_FUZZ_REQUIRE_H
