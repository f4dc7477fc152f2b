//===- ImporterTest.cpp - JSON with places, keys, schedules ---------------===//

#include "frontend/importers/Decoder.h"
#include "frontend/importers/Json.h"
#include "frontend/importers/ModelConfig.h"

#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

#include <random>

using namespace moec;
using namespace moec::importers;

namespace {
struct Parsed {
  SourceManager sources;
  Diagnostics diagnostics{sources};
  std::optional<JsonValue> value;

  explicit Parsed(llvm::StringRef text) {
    FileId file = sources.addBuffer("config.json", text);
    value = parseJson(file, sources, diagnostics);
  }
  std::string messages() {
    std::string text;
    llvm::raw_string_ostream stream(text);
    diagnostics.flush(stream);
    return text;
  }
  ModelConfig config() {
    return ModelConfig(*value, "", value->range, diagnostics);
  }
};
} // namespace

TEST(JsonTest, ReadsEveryKindOfValue) {
  Parsed p(R"({"a": [1, -2.5, 1e3, NaN, -Infinity], "b": {"c": null},
             "d": "x\u00e9\"", "e": true, "f": []})");
  ASSERT_TRUE(p.value) << p.messages();
  const JsonValue &a = p.value->find("a")->value;
  EXPECT_EQ(a.elements[0].integer, 1);
  EXPECT_EQ(a.elements[1].number, -2.5);
  EXPECT_EQ(a.elements[2].integer, 1000);
  EXPECT_TRUE(std::isnan(a.elements[3].number));
  EXPECT_TRUE(std::isinf(a.elements[4].number));
  EXPECT_EQ(p.value->find("b")->value.find("c")->value.kind,
            JsonValue::Kind::Null);
  EXPECT_EQ(p.value->find("d")->value.string, "x\xc3\xa9\"");
  EXPECT_TRUE(p.value->find("e")->value.boolean);
  EXPECT_EQ(p.value->find("g"), nullptr);
  SourceRange key = p.value->find("d")->keyRange;
  EXPECT_EQ(p.sources.lineColumn(key).line, 2u);
  EXPECT_EQ(p.sources.text(key), "\"d\"");
}

TEST(JsonTest, RefusesWhatIsNoJson) {
  for (llvm::StringRef text :
       {"", "[1]", "{", "{\"a\"}", "{\"a\": }", "{\"a\": 1,}", "{a: 1}",
        "{\"a\": 1} x", "{\"a\": [1 2]}", "{\"a\": 01}", "{\"a\": 1e}",
        "{\"a\": tru}", "{\"a\": \"x}", "{\"a\": \"\\q\"}", "{\"a\": \"\xff\"}",
        "{\"a\": 1, \"a\": 2}", "{\"a\": -}", "{\"a\": +1}", "{\"a\": .5}"}) {
    Parsed p(text);
    EXPECT_FALSE(p.value) << text.str();
    EXPECT_NE(p.messages().find("[E630]"), std::string::npos) << text.str();
  }
}

TEST(JsonTest, TakesNumbersOfAnyLength) {
  std::string digits(400, '9');
  for (const std::string &text : {digits, "0." + digits, digits + "e" + digits,
                                  std::string("1e-999"), "-" + digits}) {
    Parsed p("{\"a\": " + text + "}");
    EXPECT_EQ(p.value.has_value(), !p.diagnostics.hasErrors());
    if (p.value)
      EXPECT_FALSE(p.value->find("a")->value.integer &&
                   p.value->find("a")->value.number > 1e19);
  }
}

TEST(JsonTest, LimitsDepth) {
  std::string deep = "{\"a\": " + std::string(100000, '[');
  Parsed p(deep);
  EXPECT_FALSE(p.value);
  EXPECT_NE(p.messages().find("within each other"), std::string::npos);
}

TEST(JsonTest, TakesAnyBytes) {
  std::mt19937 random(1);
  std::string seed = R"({"a": [1, {"b": "c\n"}], "d": null, "e": -1.5e-3})";
  for (int round = 0; round < 20000; ++round) {
    std::string text = seed;
    for (unsigned edits = random() % 4 + 1; edits; --edits) {
      size_t at = random() % text.size();
      if (random() % 2)
        text[at] = static_cast<char>(random());
      else
        text.erase(at, random() % 4);
      if (text.empty())
        break;
    }
    Parsed p(text);
    EXPECT_EQ(p.value.has_value(), !p.diagnostics.hasErrors());
  }
}

TEST(ModelConfigTest, ReportsKeysThatNobodyRead) {
  Parsed p(R"({"hidden_size": 8, "use_cache": true, "odd": 1, "none": null})");
  ModelConfig config = p.config();
  EXPECT_EQ(config.size("hidden_size"), 8);
  config.reportUnread();
  EXPECT_EQ(p.diagnostics.errorCount(), 1u);
  EXPECT_NE(p.messages().find("'odd' is not understood"), std::string::npos);
}

TEST(ModelConfigTest, AliasesMustAgree) {
  Parsed p(R"({"num_experts": 8, "num_local_experts": 8, "k": 2, "top": 3})");
  ModelConfig config = p.config();
  EXPECT_EQ(config.size({"num_experts", "num_local_experts"}), 8);
  EXPECT_FALSE(p.diagnostics.hasErrors());
  config.size({"k", "top"});
  EXPECT_TRUE(p.diagnostics.hasErrors());
}

TEST(ModelConfigTest, RefusesOtherTypesOnce) {
  Parsed p(R"({"a": "1", "b": 1.5, "c": 0, "d": [1, "x"], "e": 1})");
  ModelConfig config = p.config();
  config.integer("a");
  config.integer("a");
  config.integer("b");
  config.size("c");
  config.integers("d");
  config.boolean("e");
  EXPECT_EQ(p.diagnostics.errorCount(), 5u) << p.messages();
}

TEST(ModelConfigTest, ExpectsWhatIsBuilt) {
  Parsed p(R"({"a": true, "b": 2, "c": "x", "d": null, "e": [], "f": 1})");
  ModelConfig config = p.config();
  config.expect("a", true);
  config.expect("b", int64_t(2));
  config.expect("c", llvm::StringRef("x"));
  config.expect("d", true);
  config.expect("absent", false);
  config.expectNone({"d", "e"});
  EXPECT_FALSE(p.diagnostics.hasErrors()) << p.messages();
  config.expect("a", false);
  config.expectNone("f");
  EXPECT_EQ(p.diagnostics.errorCount(), 2u);
}

TEST(SpellTest, WritesWhatPeopleWrite) {
  EXPECT_EQ(spell(10000.0), "1e4");
  EXPECT_EQ(spell(1e6), "1e6");
  EXPECT_EQ(spell(150000.0), "150000");
  EXPECT_EQ(spell(1e-6), "1e-6");
  EXPECT_EQ(spell(0.1), "0.1");
  EXPECT_EQ(spell(32.0), "32");
  EXPECT_EQ(spell(1e-20), "1e-20");
  EXPECT_EQ(spell(2.5e-7), "2.5e-7");
  EXPECT_EQ(spell(-0.5), "-0.5");
  // Nothing is lost.
  std::mt19937_64 random(1);
  for (int round = 0; round < 1000; ++round) {
    double value = std::ldexp(double(random()), int(random() % 200) - 160);
    EXPECT_EQ(std::strtod(spell(value).c_str(), nullptr), value);
  }
}

TEST(ScheduleTest, FindsTheRule) {
  Parsed p("{}");
  ModelConfig config = p.config();
  Checkpoint tensors;
  Decoder decoder(config, tensors, "m", 0);
  auto rule = [&](int64_t depth, auto predicate) {
    return decoder.condition(Schedule::where(depth, predicate), "list");
  };
  EXPECT_EQ(rule(8, [](int64_t l) { return l >= 3; }), "l >= 3");
  EXPECT_EQ(rule(8, [](int64_t l) { return l < 2; }), "l < 2");
  EXPECT_EQ(rule(8, [](int64_t l) { return l == 4; }), "l == 4");
  EXPECT_EQ(rule(8, [](int64_t l) { return l != 4; }), "l != 4");
  EXPECT_EQ(rule(8, [](int64_t l) { return l % 2 == 0; }), "l % 2 == 0");
  EXPECT_EQ(rule(12, [](int64_t l) { return (l + 1) % 4 != 0; }),
            "(l + 1) % 4 != 0");
  EXPECT_EQ(rule(6, [](int64_t l) { return l == 1 || l == 2 || l == 5; }),
            "list[l] == 1");
}
