//===- TemporaryFolder.h - A folder for one test ----------------*- C++ -*-===//
#ifndef MOEC_TEST_LIB_TEMPORARYFOLDER_H
#define MOEC_TEST_LIB_TEMPORARYFOLDER_H

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace moec::test {

/// Makes an empty folder that no other test uses, and returns its path. Whoever
/// asks removes it.
inline std::string makeTemporaryFolder() {
  std::string name = std::filesystem::temp_directory_path() / "moec-test-";
  name.append(6, 'X'); // which mkdtemp() replaces
  const char *created = mkdtemp(name.data());
  EXPECT_NE(created, nullptr) << name;
  return created ? created : ".";
}

} // namespace moec::test

#endif // MOEC_TEST_LIB_TEMPORARYFOLDER_H
