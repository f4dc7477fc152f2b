//===- ParserItems.cpp - Items, parameters, types -------------------------===//

#include "frontend/Parser.h"
#include "frontend/SpellCheck.h"

#include "llvm/ADT/StringSwitch.h"

using namespace moec;
using namespace moec::ast;
using llvm::StringRef;
using llvm::Twine;

static constexpr StringRef itemWords[] = {
    "use", "weights", "storage", "keep",     "ignore", "stop_tokens", "dtype",
    "dim", "const",   "switch",  "modality", "block",  "entry"};

ItemPtr Parser::parseItem() {
  uint32_t begin = token.begin;
  constructColumn = token.column;
  brackets.clear();
  if (!token.is(TokenKind::Name)) {
    unexpected("an item");
    return nullptr;
  }
  StringRef word = spelling(token);
  using Rule = ItemPtr (Parser::*)();
  Rule rule = llvm::StringSwitch<Rule>(word)
                  .Case("use", &Parser::parseUse)
                  .Case("weights", &Parser::parseWeights)
                  .Case("storage", &Parser::parseStorage)
                  .Case("keep", &Parser::parseKeep)
                  .Case("ignore", &Parser::parseIgnore)
                  .Case("stop_tokens", &Parser::parseStopTokens)
                  .Case("dtype", &Parser::parseDtype)
                  .Case("switch", &Parser::parseSwitch)
                  .Case("modality", &Parser::parseModality)
                  .Case("block", &Parser::parseBlock)
                  .Case("entry", &Parser::parseEntry)
                  .Default(nullptr);
  bool isDim = word == "dim";
  if (!rule && !isDim && word != "const") {
    DiagnosticBuilder error =
        diagnostics.error(DiagId::E113, rangeOf(token),
                          "expected an item, found " + describe(token));
    if (ahead.is(TokenKind::Assign) || ahead.is(TokenKind::Comma))
      error.hint(rangeOf(token), "a number belongs into 'dim' or 'const', a "
                                 "statement into a 'block'");
    else
      error.suggest(rangeOf(token), closestName(word, itemWords));
    stopAtLimit();
    return nullptr;
  }
  advance();
  ItemPtr item = rule ? (this->*rule)() : parseBindings(isDim);
  if (item)
    item->range = rangeFrom(begin);
  return item;
}

ItemPtr Parser::parseUse() {
  PlainText plugin;
  if (!parsePlainText(plugin, "the name of a plugin"))
    return nullptr;
  auto item = std::make_unique<UseItem>(std::move(plugin));
  // 'as' is a word of this item only.
  if (atWord("as")) {
    advance();
    if (!expectName(item->alias.emplace(), "a name after 'as'"))
      return nullptr;
  }
  return item;
}

ItemPtr Parser::parseWeights() {
  std::optional<Name> alias;
  if (token.isWord()) {
    if (!expectName(alias.emplace(), "a name or a file") ||
        !expect(TokenKind::Assign, "'='"))
      return nullptr;
  }
  PlainText pattern;
  if (!parsePlainText(pattern, "a file or a pattern of files"))
    return nullptr;
  auto item = std::make_unique<WeightsItem>(std::move(pattern));
  item->alias = std::move(alias);
  return item;
}

ItemPtr Parser::parseStorage() {
  PlainText pattern;
  ExprPtr format;
  if (!parsePlainText(pattern, "a pattern of tensor names") ||
      !expect(TokenKind::Assign, "'='") ||
      !parseRequired(format, &Parser::parseExpr))
    return nullptr;
  return std::make_unique<StorageItem>(std::move(pattern), std::move(format));
}

ItemPtr Parser::parseKeep() {
  Name dtype;
  PlainText pattern;
  if (!expectName(dtype, "an element type") ||
      !expect(TokenKind::KwFor, "'for'") ||
      !parsePlainText(pattern, "a pattern of tensor names"))
    return nullptr;
  return std::make_unique<KeepItem>(std::move(dtype), std::move(pattern));
}

ItemPtr Parser::parseIgnore() {
  auto item = std::make_unique<IgnoreItem>();
  do {
    if (!parsePlainText(item->patterns.emplace_back(),
                        "a pattern of tensor names"))
      return nullptr;
  } while (consumeIf(TokenKind::Comma));
  return item;
}

ItemPtr Parser::parseStopTokens() {
  auto item = std::make_unique<StopTokensItem>();
  do {
    if (!token.is(TokenKind::Number)) {
      unexpected("the id of a token");
      return nullptr;
    }
    if (!parseRequired(item->ids.emplace_back(), &Parser::parsePrimary))
      return nullptr;
  } while (consumeIf(TokenKind::Comma));
  return item;
}

ItemPtr Parser::parseDtype() {
  Name dtype;
  if (!expectName(dtype, "an element type"))
    return nullptr;
  return std::make_unique<DtypeItem>(std::move(dtype));
}

ItemPtr Parser::parseBindings(bool isDim) {
  auto item = std::make_unique<BindingsItem>(isDim);
  do {
    Binding &binding = item->bindings.emplace_back();
    if (!expectName(binding.name, "a name") ||
        !expect(TokenKind::Assign, "'='") ||
        !parseRequired(binding.value, &Parser::parseExpr))
      return nullptr;
  } while (consumeIf(TokenKind::Comma));
  return item;
}

ItemPtr Parser::parseSwitch() {
  Name name;
  if (!expectName(name, "the name of the switch") ||
      !expect(TokenKind::Assign, "'='"))
    return nullptr;
  auto item = std::make_unique<SwitchItem>(std::move(name));
  do {
    if (!expectName(item->alternatives.emplace_back(), "an alternative"))
      return nullptr;
  } while (consumeIf(TokenKind::Pipe));
  return item;
}

ItemPtr Parser::parseModality() {
  Name name;
  if (!expectName(name, "the name of the modality"))
    return nullptr;
  auto item = std::make_unique<ModalityItem>(std::move(name));
  if (!parseParams(item->params) || !expect(TokenKind::Assign, "'='") ||
      !parseRequired(item->value, &Parser::parseExpr))
    return nullptr;
  return item;
}

ItemPtr Parser::parseBlock() {
  auto item = std::make_unique<BlockItem>(Name());
  bool headIsFine = expectName(item->name, "the name of the block") &&
                    parseParams(item->params) && parsePrefix(item->prefix);
  if (headIsFine && !token.is(TokenKind::LeftBrace)) {
    unexpected(item->prefix ? "'{'" : "'at' or '{'");
    headIsFine = false;
  }
  if (!headIsFine && !recoverToBody())
    return nullptr;
  Bracket brace{TokenKind::LeftBrace, rangeOf(token)};
  advance();
  parseStatements(item->body);
  if (!parseBlockEnd(*item, brace))
    return nullptr;
  return item;
}

/// `return expr , ... }`. After a fault the rest of the block is skipped, so
/// that its statements are not taken for items. True if its end was found.
bool Parser::parseBlockEnd(BlockItem &block, const Bracket &brace) {
  bool isFine = false;
  if (token.is(TokenKind::KwReturn)) {
    constructColumn = token.column;
    block.returnRange = rangeOf(token);
    advance();
    do {
      isFine = parseRequired(block.results.emplace_back(), &Parser::parseExpr);
    } while (isFine && consumeIf(TokenKind::Comma));
    if (isFine && !token.is(TokenKind::RightBrace)) {
      if (token.is(TokenKind::EndOfInput) || atItemStart())
        unclosed(brace, "'}'");
      else
        unexpected("',' or '}' after the results of the block");
      isFine = false;
    }
  } else if (token.is(TokenKind::RightBrace)) {
    diagnostics
        .error(DiagId::E114, rangeOf(token),
               "expected 'return' before the end of block '" +
                   block.name.str() + "'")
        .hint(block.name.range, "block '" + block.name.str() + "' begins here");
    stopAtLimit();
  } else {
    unclosed(brace, "'return'");
  }
  while (!consumeIf(TokenKind::RightBrace)) {
    if (token.is(TokenKind::EndOfInput) || atItemStart())
      return false;
    skipToken();
    recover(/*inBody=*/true);
  }
  return true;
}

ItemPtr Parser::parseEntry() {
  Name name;
  if (!expectName(name, "the name of the entry"))
    return nullptr;
  auto item = std::make_unique<EntryItem>(std::move(name));
  if (!parseParams(item->params) || !expect(TokenKind::Assign, "'='") ||
      !parseRequired(item->value, &Parser::parseExpr))
    return nullptr;
  if (!consumeIf(TokenKind::KwWith))
    return item;
  do {
    if (!parseOption(item->options.emplace_back()))
      return nullptr;
  } while (consumeIf(TokenKind::Comma));
  return item;
}

bool Parser::parseOption(EntryOption &option) {
  uint32_t begin = token.begin;
  if (!expectName(option.name, "an option"))
    return false;
  if (token.is(TokenKind::LeftParen) && !parseArguments(option.arguments))
    return false;
  option.range = rangeFrom(begin);
  return true;
}

bool Parser::parseParams(std::vector<Param> &params) {
  if (!token.is(TokenKind::LeftParen)) {
    unexpected("'('");
    return false;
  }
  return parseList(
      TokenKind::LeftParen, /*mayBeEmpty=*/true, /*trailingComma=*/false, [&] {
        Param &param = params.emplace_back();
        if (!expectName(param.name, "the name of a parameter"))
          return false;
        return !consumeIf(TokenKind::Colon) || parseType(param.type.emplace());
      });
}

bool Parser::parseType(Type &type) {
  uint32_t begin = token.begin;
  if (atWord("seq") && ahead.is(TokenKind::LeftParen)) {
    type.kind = TypeKind::Sequence;
    advance();
    if (!parseList(TokenKind::LeftParen, /*mayBeEmpty=*/false,
                   /*trailingComma=*/false,
                   [&] { return parseSegment(type.segments.emplace_back()); }))
      return false;
  } else {
    if (!expectName(type.name, "a type"))
      return false;
    if (token.is(TokenKind::LeftBracket) &&
        !parseList(TokenKind::LeftBracket, /*mayBeEmpty=*/false,
                   /*trailingComma=*/false, [&] {
                     return parseRequired(type.dims.emplace_back(),
                                          &Parser::parseExpr);
                   }))
      return false;
  }
  type.range = rangeFrom(begin);
  return true;
}

bool Parser::parseSegment(Segment &segment) {
  uint32_t begin = token.begin;
  auto modality = [&] {
    return expectName(segment.modalities.emplace_back(), "a modality");
  };
  segment.isAny = atWord("any") && ahead.is(TokenKind::LeftParen);
  if (segment.isAny) {
    advance();
    if (!parseList(TokenKind::LeftParen, /*mayBeEmpty=*/false,
                   /*trailingComma=*/false, modality))
      return false;
  } else if (!modality()) {
    return false;
  }
  if (token.is(TokenKind::LeftBracket)) {
    brackets.push({TokenKind::LeftBracket, rangeOf(token)});
    advance();
    if (!parseRequired(segment.count, &Parser::parseExpr) ||
        !expect(TokenKind::RightBracket, "']'"))
      return false;
    brackets.pop();
  }
  segment.isOptional = consumeIf(TokenKind::Question);
  segment.range = rangeFrom(begin);
  return true;
}

bool Parser::parsePlainText(PlainText &text, StringRef what) {
  if (!token.is(TokenKind::String)) {
    unexpected(what + Twine(" between quotation marks"));
    return false;
  }
  std::unique_ptr<StringExpr> string = parseString();
  if (!string)
    return false;
  for (const StringExpr::Part &part : string->parts)
    if (part.placeholder) {
      diagnostics
          .error(DiagId::E115, part.range,
                 "expected plain text, found a placeholder")
          .hint(part.range, "write '{{' for a brace, '*' for any text");
      stopAtLimit();
      return true; // in step with the text all the same
    }
  text = PlainText(string->plainText(), string->range);
  return true;
}

/// `[ at STRING ]`.
bool Parser::parsePrefix(std::unique_ptr<StringExpr> &prefix) {
  if (!consumeIf(TokenKind::KwAt))
    return true;
  if (!token.is(TokenKind::String)) {
    unexpected("a string after 'at'");
    return false;
  }
  prefix = parseString();
  return prefix != nullptr;
}
