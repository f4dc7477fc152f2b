//===- ToolTestSupport.h - Running a tool and reading what it said --------===//
#ifndef MOEC_TEST_TOOLS_TOOLTESTSUPPORT_H
#define MOEC_TEST_TOOLS_TOOLTESTSUPPORT_H

#include <string>
#include <vector>

namespace moe::test {

struct ToolResult {
  int exitCode = -1; // 128 + signal where it was killed
  std::string out;
  std::string err;
};

/// Runs a program with arguments and without a shell.
ToolResult runTool(const std::string &program,
                   const std::vector<std::string> &arguments);

/// A folder that goes with the object.
class TemporaryFolder {
public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder &) = delete;
  ~TemporaryFolder();
  std::string file(const std::string &name) const { return path + "/" + name; }
  /// Writes a file and returns its path.
  std::string write(const std::string &name, const std::string &bytes) const;
  /// Names of the files in it.
  std::vector<std::string> list() const;

private:
  std::string path;
};

/// Whether the text is one JSON value (RFC 8259) and nothing else.
bool isJson(const std::string &text);

} // namespace moe::test

#endif // MOEC_TEST_TOOLS_TOOLTESTSUPPORT_H
