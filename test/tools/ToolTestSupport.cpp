//===- ToolTestSupport.cpp - Running a tool and reading what it said ------===//

#include "test/tools/ToolTestSupport.h"

#include "test/lib/TemporaryFolder.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::test;

extern char **environ;

namespace {

std::string contents(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

/// A recognizer of JSON.
class Json {
public:
  explicit Json(const std::string &text) : text(text) {}
  bool document() { return value() && (space(), at == text.size()); }

private:
  void space() {
    while (at < text.size() && std::strchr(" \t\r\n", text[at]))
      ++at;
  }
  bool take(const char *wanted) {
    if (text.compare(at, std::strlen(wanted), wanted) != 0)
      return false;
    at += std::strlen(wanted);
    return true;
  }
  bool value() {
    space();
    if (at == text.size())
      return false;
    switch (text[at]) {
    case '{':
      return list('}', true);
    case '[':
      return list(']', false);
    case '"':
      return string();
    default:
      return take("true") || take("false") || take("null") || number();
    }
  }
  bool list(char close, bool isObject) {
    ++at;
    space();
    if (at < text.size() && text[at] == close)
      return ++at, true;
    for (;;) {
      space();
      if (isObject && (!string() || (space(), !take(":"))))
        return false;
      if (!value())
        return false;
      space();
      if (take(","))
        continue;
      return at < text.size() && text[at++] == close;
    }
  }
  bool string() {
    if (!take("\""))
      return false;
    for (; at < text.size() && text[at] != '"'; ++at) {
      if (static_cast<unsigned char>(text[at]) < 0x20)
        return false;
      if (text[at] == '\\' &&
          (++at == text.size() || !std::strchr("\"\\/bfnrtu", text[at])))
        return false;
    }
    return take("\"");
  }
  bool number() {
    const size_t start = at;
    if (at < text.size() && text[at] == '-')
      ++at;
    while (at < text.size() && (std::isdigit(text[at]) || text[at] == '.'))
      ++at;
    return at > start && std::isdigit(text[at - 1]);
  }

  const std::string &text;
  size_t at = 0;
};

} // namespace

bool moe::test::isJson(const std::string &text) {
  return Json(text).document();
}

ToolResult moe::test::runTool(const std::string &program,
                              const std::vector<std::string> &arguments) {
  const TemporaryFolder folder;
  const std::string out = folder.file("out");
  const std::string err = folder.file("err");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT,
                                   0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT,
                                   0600);
  std::vector<char *> argv;
  argv.push_back(const_cast<char *>(program.c_str()));
  for (const std::string &argument : arguments)
    argv.push_back(const_cast<char *>(argument.c_str()));
  argv.push_back(nullptr);
  ToolResult result;
  pid_t child = 0;
  const int spawned = posix_spawn(&child, program.c_str(), &actions, nullptr,
                                  argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(spawned, 0) << program;
  int status = 0;
  if (spawned == 0 && waitpid(child, &status, 0) == child)
    result.exitCode =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = contents(out);
  result.err = contents(err);
  return result;
}

TemporaryFolder::TemporaryFolder() : path(moec::test::makeTemporaryFolder()) {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

std::string TemporaryFolder::write(const std::string &name,
                                   const std::string &bytes) const {
  std::ofstream stream(file(name), std::ios::binary);
  stream << bytes;
  stream.close();
  EXPECT_TRUE(stream.good()) << name;
  return file(name);
}

std::vector<std::string> TemporaryFolder::list() const {
  std::vector<std::string> names;
  for (const auto &each : std::filesystem::directory_iterator(path))
    names.push_back(each.path().filename());
  return names;
}
