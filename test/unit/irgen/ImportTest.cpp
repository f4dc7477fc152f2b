//===- ImportTest.cpp - What callers of importModel see -------------------===//

#include "IRGenTestSupport.h"

#include "dialects/interfaces/MoecDialectInterface.h"

#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/Verifier.h"

#include <gtest/gtest.h>

using namespace moec;
using namespace moec::test;

namespace {

TEST(Import, GivesAVerifiedModule) {
  Imported model;
  model.import(modelWith("", "y = x + 1"));
  ASSERT_TRUE(model.module) << model.messages();
  EXPECT_TRUE(mlir::succeeded(mlir::verify(*model.module)));
  EXPECT_EQ((*model.module)->getAttr("moe.source"),
            mlir::StringAttr::get(&model.context, "t.moe"));
}

TEST(Import, FailsExactlyWithErrors) {
  Imported model;
  model.import(modelWith("", "x = y"));
  EXPECT_FALSE(model.module);
  EXPECT_TRUE(model.diagnostics.hasErrors());
}

TEST(Import, LoadsPluginsBeforeNamesAreResolved) {
  Imported model;
  std::vector<std::string> asked;
  model.options.loadPlugin = [&](llvm::StringRef name) {
    asked.push_back(name.str());
    return llvm::Error::success();
  };
  model.import(modelWith("use \"a\" use \"b\" as c", "z = unknown(x)"));
  EXPECT_EQ(asked, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(model.diagnostics.errorCount(), 1u);
  EXPECT_EQ(model.diagnostics.all().front().id, DiagId::E202);
}

TEST(Import, ReportsPluginsThatCannotBeLoaded) {
  auto idFor = [](std::error_code code) {
    Imported model;
    model.options.loadPlugin = [&](llvm::StringRef) {
      return llvm::createStringError(code, "no");
    };
    model.import(modelWith("use \"a\"", "z = unknown(x)"));
    EXPECT_EQ(model.diagnostics.errorCount(), 1u);
    return model.diagnostics.all().front().id;
  };
  EXPECT_EQ(idFor(std::make_error_code(std::errc::no_such_file_or_directory)),
            DiagId::E901);
  EXPECT_EQ(idFor(std::make_error_code(std::errc::executable_format_error)),
            DiagId::E903);
  EXPECT_EQ(idFor(llvm::inconvertibleErrorCode()), DiagId::E902);
}

/// A plugin's dialect with a stage that moe has, too.
class TwinDialect : public mlir::Dialect {
public:
  static constexpr llvm::StringLiteral getDialectNamespace() { return "twin"; }
  explicit TwinDialect(mlir::MLIRContext *context)
      : Dialect(getDialectNamespace(), context,
                mlir::TypeID::get<TwinDialect>()) {
    addInterfaces<Stages>();
  }

private:
  struct Stages : MoecDialectInterface {
    using MoecDialectInterface::MoecDialectInterface;
    std::vector<StageEntry> getStages() const override {
      return {{"softmax", StageKind::Score, {}, nullptr}};
    }
  };
};

TEST(Import, ReportsASpellingOfTwoDialects) {
  Imported model;
  model.context.loadDialect<TwinDialect>();
  model.import(modelWith(
      "", "r = route(linear(x, \"w\", to = 4), score = softmax, rank = score, "
          "select = top_k(1), weigh = score, renorm = none, scale = 1)"));
  ASSERT_FALSE(model.module);
  ASSERT_EQ(model.diagnostics.errorCount(), 1u) << model.messages();
  EXPECT_EQ(model.diagnostics.all().back().id, DiagId::E904);
  EXPECT_EQ(model.diagnostics.all().back().message,
            "two dialects provide a stage 'score = softmax'");
}

TEST(Import, OverridesTheTypeOfValues) {
  Imported model;
  model.options.compute = ComputeType::BF16;
  model.import(modelWith("", "y = x + 1"));
  ASSERT_TRUE(model.module) << model.messages();
  std::string text;
  llvm::raw_string_ostream(text) << *model.module;
  EXPECT_NE(text.find("moe.compute = bf16, moe.dtype = bf16"),
            std::string::npos);
  EXPECT_NE(text.find("moe.weight @e : tensor<16x8xf32>"), std::string::npos);
}

TEST(Import, WorksWithoutPlaces) {
  // Trees of importers have no text behind them.
  Imported parsed;
  parsed.file =
      parseBuffer("t.moe", modelWith("", "x = linear(x, \"w\"[0:8], to = 8)"),
                  parsed.sources, parsed.diagnostics);
  ASSERT_TRUE(parsed.file);
  parsed.file->range = SourceRange();
  SourceManager other;
  Diagnostics diagnostics(other);
  auto *block = llvm::cast<ast::BlockItem>(parsed.file->items[3].get());
  auto *assign = llvm::cast<ast::AssignStmt>(block->body[0].get());
  assign->value->range = SourceRange();
  parsed.module = importModel(*parsed.file, parsed.diagnostics, parsed.context,
                              parsed.options);
  EXPECT_FALSE(parsed.module);
  EXPECT_NE(parsed.messages().find("'x' is bound twice [E207]"),
            std::string::npos);
}

} // namespace
