//===- Settings.cpp - MOE_CUDA_EMU_* environment variables ----------------===//
#include "compiler/targets/nvptx/emulator/Settings.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"

#include <cstdlib>

using namespace moec::emu;
using llvm::StringRef;
using llvm::Twine;

namespace {

struct ResultName {
  CUresult code;
  const char *name;
};

#define RESULT(NAME) {NAME, #NAME}
const ResultName resultNames[] = {RESULT(CUDA_SUCCESS),
                                  RESULT(CUDA_ERROR_INVALID_VALUE),
                                  RESULT(CUDA_ERROR_OUT_OF_MEMORY),
                                  RESULT(CUDA_ERROR_NOT_INITIALIZED),
                                  RESULT(CUDA_ERROR_DEINITIALIZED),
                                  RESULT(CUDA_ERROR_DEVICE_UNAVAILABLE),
                                  RESULT(CUDA_ERROR_NO_DEVICE),
                                  RESULT(CUDA_ERROR_INVALID_DEVICE),
                                  RESULT(CUDA_ERROR_INVALID_IMAGE),
                                  RESULT(CUDA_ERROR_INVALID_CONTEXT),
                                  RESULT(CUDA_ERROR_NO_BINARY_FOR_GPU),
                                  RESULT(CUDA_ERROR_ECC_UNCORRECTABLE),
                                  RESULT(CUDA_ERROR_INVALID_PTX),
                                  RESULT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION),
                                  RESULT(CUDA_ERROR_INVALID_HANDLE),
                                  RESULT(CUDA_ERROR_ILLEGAL_STATE),
                                  RESULT(CUDA_ERROR_NOT_FOUND),
                                  RESULT(CUDA_ERROR_NOT_READY),
                                  RESULT(CUDA_ERROR_ILLEGAL_ADDRESS),
                                  RESULT(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
                                  RESULT(CUDA_ERROR_LAUNCH_TIMEOUT),
                                  RESULT(CUDA_ERROR_CONTEXT_IS_DESTROYED),
                                  RESULT(CUDA_ERROR_ASSERT),
                                  RESULT(CUDA_ERROR_HARDWARE_STACK_ERROR),
                                  RESULT(CUDA_ERROR_ILLEGAL_INSTRUCTION),
                                  RESULT(CUDA_ERROR_MISALIGNED_ADDRESS),
                                  RESULT(CUDA_ERROR_INVALID_ADDRESS_SPACE),
                                  RESULT(CUDA_ERROR_INVALID_PC),
                                  RESULT(CUDA_ERROR_LAUNCH_FAILED),
                                  RESULT(CUDA_ERROR_NOT_PERMITTED),
                                  RESULT(CUDA_ERROR_NOT_SUPPORTED),
                                  RESULT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED),
                                  RESULT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED),
                                  RESULT(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED),
                                  RESULT(CUDA_ERROR_UNKNOWN)};
#undef RESULT

/// "64", "64K", "16M", "8G".
bool parseSize(StringRef text, uint64_t &size) {
  unsigned shift = 0;
  if (text.consume_back("K"))
    shift = 10;
  else if (text.consume_back("M"))
    shift = 20;
  else if (text.consume_back("G"))
    shift = 30;
  if (text.getAsInteger(10, size) || size > (~0ull >> shift))
    return false;
  size <<= shift;
  return true;
}

/// Reads variables one by one and keeps the first complaint.
class Reader {
public:
  bool get(const char *name, StringRef &value) const {
    const char *text = std::getenv(name);
    if (!text || !*text)
      return false;
    value = text;
    return true;
  }
  void complain(const char *name, StringRef expected, StringRef found) {
    if (problem.empty())
      problem =
          (Twine(name) + ": expected " + expected + ", found `" + found + "`")
              .str();
  }
  void size(const char *name, uint64_t &to) {
    StringRef value;
    if (get(name, value) && !parseSize(value, to))
      complain(name, "a size such as 512M", value);
  }
  template <typename T> void number(const char *name, T &to) {
    StringRef value;
    if (get(name, value) && value.getAsInteger(10, to))
      complain(name, "a number", value);
  }
  void flag(const char *name, bool &to) {
    StringRef value;
    if (!get(name, value))
      return;
    if (value != "0" && value != "1")
      complain(name, "0 or 1", value);
    to = value == "1";
  }

  std::string problem;
};

void readArch(Reader &reader, Settings &settings) {
  const char *name = "MOE_CUDA_EMU_ARCH";
  StringRef value;
  if (!reader.get(name, value))
    return;
  StringRef text = value;
  unsigned number = 0;
  bool good = text.consume_front("sm_");
  text.consume_back("a");
  good = good && !text.getAsInteger(10, number) && number >= 50;
  if (!good)
    return reader.complain(name, "an architecture such as sm_80", value);
  settings.smMajor = number / 10;
  settings.smMinor = number % 10;
}

void readChecks(Reader &reader, Settings &settings) {
  const char *name = "MOE_CUDA_EMU_CHECKS";
  StringRef value;
  if (!reader.get(name, value) || value == "all")
    return;
  settings.checkBounds = settings.checkRaces = settings.checkBlocks =
      settings.poison = false;
  if (value == "none")
    return;
  llvm::SmallVector<StringRef> words;
  value.split(words, ',');
  for (StringRef word : words) {
    if (word == "bounds")
      settings.checkBounds = true;
    else if (word == "races")
      settings.checkRaces = true;
    else if (word == "blocks")
      settings.checkBlocks = true;
    else if (word == "poison")
      settings.poison = true;
    else
      reader.complain(
          name, "all, none or a list of bounds, races, blocks, poison", value);
  }
}

bool parseResult(StringRef text, CUresult &code) {
  unsigned number = 0;
  bool isNumber = !text.getAsInteger(10, number);
  for (const ResultName &entry : resultNames)
    if (isNumber ? entry.code == static_cast<CUresult>(number)
                 : text == entry.name) {
      code = entry.code;
      return true;
    }
  return false;
}

void readFailures(Reader &reader, Settings &settings) {
  const char *name = "MOE_CUDA_EMU_FAIL";
  StringRef value;
  if (!reader.get(name, value))
    return;
  llvm::SmallVector<StringRef> items;
  value.split(items, ',');
  for (StringRef item : items) {
    auto [place, code] = item.split('=');
    auto [function, call] = place.split('@');
    InjectedFailure failure;
    function.consume_back("_v2");
    failure.function = function.str();
    if ((!call.empty() && call.getAsInteger(10, failure.call)) ||
        !parseResult(code, failure.code))
      return reader.complain(
          name,
          "FUNCTION@CALL=CODE such as cuMemAlloc@2=CUDA_ERROR_OUT_OF_MEMORY",
          item);
    settings.failures.push_back(failure);
  }
}

} // namespace

Settings &moec::emu::getSettings() {
  static Settings settings;
  return settings;
}

const char *moec::emu::getResultName(CUresult code) {
  for (const ResultName &entry : resultNames)
    if (entry.code == code)
      return entry.name;
  return nullptr;
}

uint64_t Settings::getSharedOptinBytes() const {
  unsigned number = smMajor * 10 + smMinor;
  if (number >= 90 && number < 120)
    return 227 << 10;
  if (number == 80 || number == 87)
    return 163 << 10;
  if (number >= 80)
    return 99 << 10;
  return number == 75 ? 64 << 10 : 96 << 10;
}

std::string Settings::read() {
  *this = Settings();
  Reader reader;
  readArch(reader, *this);
  readChecks(reader, *this);
  readFailures(reader, *this);
  reader.size("MOE_CUDA_EMU_MEMORY", memoryBytes);
  reader.size("MOE_CUDA_EMU_STACK", stackBytes);
  reader.number("MOE_CUDA_EMU_SEED", seed);
  reader.number("MOE_CUDA_EMU_TIMEOUT", timeoutSeconds);
  reader.number("MOE_CUDA_EMU_DRIVER_VERSION", driverVersion);
  reader.number("MOE_CUDA_EMU_DEVICES", devices);
  reader.number("MOE_CUDA_EMU_MULTIPROCESSORS", multiprocessors);
  reader.flag("MOE_CUDA_EMU_BLOCKING", blocking);
  reader.flag("MOE_CUDA_EMU_VERBOSE", verbose);
  if (stackBytes < (16 << 10))
    reader.complain("MOE_CUDA_EMU_STACK", "at least 16K", "less");
  return reader.problem;
}
