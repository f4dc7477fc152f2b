//===- FrontendFuzzer.cpp - Any text as a model ---------------------------===//
//
// Parses the input, prints it back, and imports it without a checkpoint. What
// the messages say is of no interest; that there is one exactly when there is
// no result, and that every result is valid IR, is.
//
//===----------------------------------------------------------------------===//

#include "frontend/AstPrinter.h"
#include "frontend/Frontend.h"
#include "frontend/IRGen.h"
#include "test/fuzz/FreshContext.h"
#include "test/fuzz/Require.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/raw_ostream.h"

#include <memory>

using namespace moec;
using llvm::StringRef;

namespace {

/// A text with its messages and its tree.
struct Parsed {
  explicit Parsed(StringRef text) {
    file = parseBuffer("fuzz.moe", text, sources, diagnostics);
    require((file == nullptr) == diagnostics.hasErrors(),
            "no tree exactly where there is an error");
  }
  std::string messages() {
    std::string text;
    llvm::raw_string_ostream os(text);
    diagnostics.flush(os);
    return text;
  }

  SourceManager sources;
  Diagnostics diagnostics{sources};
  std::unique_ptr<ast::File> file;
};

void printAndParse(const ast::File &file) {
  std::string text;
  llvm::raw_string_ostream os(text);
  ast::print(file, os);
  Parsed again(text);
  require(again.file != nullptr, "a printed tree can be parsed");
  require(structurallyEqual(file, *again.file),
          "a printed tree says what it said");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Parsed parsed(StringRef(reinterpret_cast<const char *>(data), size));
  parsed.messages();
  if (!parsed.file)
    return 0;
  printAndParse(*parsed.file);

  mlir::MLIRContext &context = freshContext(/*inputsPerContext=*/500);
  std::string words;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
    words += d.str() + '\n';
    return mlir::success();
  });
  ImportOptions options;
  options.weights = WeightsMode::None;
  // Small models find as much as large ones, in less time.
  options.maxSteps = 20000;
  mlir::OwningOpRef<mlir::ModuleOp> module =
      importModel(*parsed.file, parsed.diagnostics, context, options);
  require(static_cast<bool>(module) != parsed.diagnostics.hasErrors(),
          "no module exactly where there is an error");
  parsed.messages();
  if (module)
    require(succeeded(mlir::verify(*module)), "an imported module is valid",
            words);
  return 0;
}
