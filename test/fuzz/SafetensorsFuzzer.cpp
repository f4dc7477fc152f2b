//===- SafetensorsFuzzer.cpp - Any bytes as a tensor file -----------------===//
//
// An input that begins with a brace is a header: its length is put before it
// and some data behind it, so that mutations need not keep them in step. Any
// other input is a whole file.
//
//===----------------------------------------------------------------------===//

#include "frontend/weights/SafetensorsReader.h"
#include "test/fuzz/MemoryFile.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/raw_ostream.h"

using namespace moec;
using llvm::StringRef;

static std::string asFile(StringRef input) {
  if (!input.starts_with("{"))
    return input.str();
  constexpr size_t dataBytes = 64;
  char length[8];
  llvm::support::endian::write64le(length, input.size());
  return std::string(length, sizeof(length)) + input.str() +
         std::string(dataBytes, '\1');
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string bytes =
      asFile(StringRef(reinterpret_cast<const char *>(data), size));
  MemoryFile file(bytes.data(), bytes.size());
  SourceManager sources;
  Diagnostics diagnostics(sources);
  std::unique_ptr<TensorSource> source =
      openSafetensors(file.path(), diagnostics);
  require((source == nullptr) == diagnostics.hasErrors(),
          "no file exactly where there is an error");
  std::string messages;
  llvm::raw_string_ostream os(messages);
  diagnostics.flush(os);
  if (!source)
    return 0;
  for (const TensorInfo &tensor : source->tensors()) {
    require(tensor.begin <= tensor.end && tensor.end <= bytes.size(),
            "a tensor lies in its file");
    require(tensor.elementCount() * bitWidth(tensor.dtype) ==
                tensor.byteSize() * 8,
            "a tensor is as long as its shape says");
    describe(tensor);
    llvm::Expected<llvm::ArrayRef<uint8_t>> read = source->data(tensor);
    require(static_cast<bool>(read), "a tensor of an open file can be read");
    require(read->size() == tensor.byteSize() &&
                std::equal(read->begin(), read->end(),
                           bytes.begin() + tensor.begin,
                           [](uint8_t a, char b) {
                             return a == static_cast<uint8_t>(b);
                           }),
            "a tensor's bytes are those of the file");
  }
  return 0;
}
