//===- CheckpointFuzzer.cpp - Any bytes as the files of a checkpoint ------===//
//
// An input is up to four texts, with a zero between them: config.json, the
// header of the tensor file, model.safetensors.index.json and
// generation_config.json. The tensor file is as long as its header says, within
// reason, so that mutations of shapes need not keep it in step.
//
//===----------------------------------------------------------------------===//

#include "frontend/Frontend.h"
#include "frontend/IRGen.h"
#include "frontend/importers/Importer.h"
#include "test/fuzz/FreshContext.h"
#include "test/fuzz/Require.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <unistd.h>

using namespace moec;
using llvm::StringRef;

namespace {

/// A folder in memory that goes with the process.
class Folder {
public:
  Folder() {
    char name[] = "/dev/shm/moec-fuzz-XXXXXX";
    require(mkdtemp(name) != nullptr, "a folder in memory can be made");
    path = name;
  }
  Folder(const Folder &) = delete;
  ~Folder() { std::filesystem::remove_all(path); }

  /// The file with these bytes and zeros behind them; none without bytes.
  void put(const char *name, StringRef bytes, uint64_t size = 0) const {
    std::string file = path + "/" + name;
    unlink(file.c_str());
    if (bytes.empty())
      return;
    int fd = open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    uint64_t length = std::max<uint64_t>(size, bytes.size());
    require(fd >= 0 &&
                write(fd, bytes.data(), bytes.size()) ==
                    static_cast<ssize_t>(bytes.size()) &&
                ftruncate(fd, static_cast<off_t>(length)) == 0,
            "a file in memory can be written");
    close(fd);
  }

  std::string path;
};

/// The last byte that a header speaks of, at most a megabyte.
uint64_t dataBytes(StringRef header) {
  uint64_t last = 0;
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(header);
  if (!value) {
    llvm::consumeError(value.takeError());
    return 0;
  }
  if (const llvm::json::Object *tensors = value->getAsObject())
    for (const auto &member : *tensors)
      if (const llvm::json::Object *tensor = member.second.getAsObject())
        if (const llvm::json::Array *range = tensor->getArray("data_offsets"))
          for (const llvm::json::Value &place : *range)
            last = std::max<uint64_t>(last, place.getAsUINT64().value_or(0));
  return std::min<uint64_t>(last, 1 << 20);
}

void putTensors(const Folder &folder, const char *name, StringRef header) {
  if (header.empty())
    return folder.put(name, "");
  char length[8];
  llvm::support::endian::write64le(length, header.size());
  std::string bytes(length, sizeof(length));
  bytes += header;
  folder.put(name, bytes, bytes.size() + dataBytes(header));
}

/// What an importer writes is a model, with the tensors that it found.
void readAgain(const std::string &text, const Folder &folder) {
  SourceManager sources;
  Diagnostics diagnostics(sources);
  std::unique_ptr<ast::File> file =
      parseBuffer(folder.path + "/imported.moe", text, sources, diagnostics);
  require(file != nullptr, "an imported text can be parsed", text);
  mlir::MLIRContext &context = freshContext(/*inputsPerContext=*/100);
  std::string words;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
    words += d.str() + '\n';
    return mlir::success();
  });
  ImportOptions options;
  options.folder = folder.path;
  options.maxSteps = 20000;
  mlir::OwningOpRef<mlir::ModuleOp> module =
      importModel(*file, diagnostics, context, options);
  require(static_cast<bool>(module) != diagnostics.hasErrors(),
          "no module exactly where there is an error");
  std::string messages;
  llvm::raw_string_ostream os(messages);
  diagnostics.flush(os);
  if (module)
    require(succeeded(mlir::verify(*module)), "an imported module is valid",
            words);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Folder folder;
  StringRef rest(reinterpret_cast<const char *>(data), size);
  StringRef parts[4];
  for (StringRef &part : parts)
    std::tie(part, rest) = rest.split('\0');
  folder.put("config.json", parts[0]);
  bool hasIndex = !parts[2].empty();
  putTensors(folder, "model.safetensors", hasIndex ? "" : parts[1]);
  putTensors(folder, "model-1.safetensors", hasIndex ? parts[1] : "");
  folder.put("model.safetensors.index.json", parts[2]);
  folder.put("generation_config.json", parts[3]);

  SourceManager sources;
  Diagnostics diagnostics(sources);
  std::optional<std::string> text =
      importCheckpoint(folder.path, {}, sources, diagnostics);
  require(text.has_value() != diagnostics.hasErrors(),
          "no text exactly where there is an error");
  std::string messages;
  llvm::raw_string_ostream os(messages);
  diagnostics.flush(os);
  // Faults of a checkpoint are found before the text is written.
  // A line begins with where it is; what it quotes may be anything.
  llvm::SmallVector<StringRef> lines;
  StringRef(messages).split(lines, '\n');
  require(llvm::none_of(lines,
                        [](StringRef line) {
                          return line.starts_with("text of the importer:");
                        }),
          "an importer writes what can be read", messages);
  if (text)
    readAgain(*text, folder);
  return 0;
}
