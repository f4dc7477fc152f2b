//===- IRGenTestSupport.h - Importing for tests -----------------*- C++ -*-===//
#ifndef MOEC_TEST_UNIT_IRGEN_IRGENTESTSUPPORT_H
#define MOEC_TEST_UNIT_IRGEN_IRGENTESTSUPPORT_H

#include "frontend/Frontend.h"
#include "frontend/IRGen.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"

namespace moec {
namespace test {

/// A text that was imported without a checkpoint.
struct Imported {
  Imported() { options.weights = WeightsMode::None; }

  void import(llvm::StringRef text) {
    file = parseBuffer("t.moe", text, sources, diagnostics);
    if (file)
      module = importModel(*file, diagnostics, context, options);
  }

  std::string messages() {
    std::string text;
    llvm::raw_string_ostream os(text);
    diagnostics.flush(os);
    return text;
  }

  SourceManager sources;
  Diagnostics diagnostics{sources};
  mlir::MLIRContext context;
  ImportOptions options;
  std::unique_ptr<ast::File> file;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// A small model whose block has the statements `body` and returns x.
inline std::string modelWith(llvm::StringRef items, llvm::StringRef body) {
  return ("moe 1\nmodel m\nweights \"w\"\ndtype f32\n" + items +
          "\nmodality text(ids: token[16]) = embed(ids, \"e\", to = 8)\n"
          "block decoder(x) {\n" +
          body + "\nreturn x }\nentry score(s: seq(text[1..8])) = decoder(s)\n")
      .str();
}

} // namespace test
} // namespace moec

#endif // MOEC_TEST_UNIT_IRGEN_IRGENTESTSUPPORT_H
