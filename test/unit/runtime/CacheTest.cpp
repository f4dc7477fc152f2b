//===- CacheTest.cpp - Pages, forks and trims -----------------------------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <memory>
#include <random>

using namespace moe;
using namespace moe::test;

namespace {

class Cache : public testing::Test {
protected:
  uint64_t pagesUsed() { return session.stats().cache_pages_used; }
  /// Adds text to both and returns whether their last rows are the same.
  testing::AssertionResult extend(Sequence &sequence,
                                  ReferenceSequence &reference,
                                  const std::string &text) {
    const std::vector<float> found =
        asVector(session.step("mixed", sequence, {input("text", text)})[0]);
    reference.addText(text);
    if (found == reference.lastLogits())
      return testing::AssertionSuccess();
    return testing::AssertionFailure()
           << "wrong logits after " << reference.length() << " tokens";
  }

  FakeArtifact artifact;
  Engine engine{2};
  Model model = Model::load(engine, artifact.path());
  Session session{model};
};

TEST_F(Cache, PagesAreTakenAsTheyFill) {
  Sequence sequence = session.create_sequence();
  ReferenceSequence reference;
  EXPECT_EQ(pagesUsed(), 0u);
  for (const auto &[tokens, pages] :
       {std::pair<size_t, uint64_t>{1, 1}, {63, 1}, {1, 2}, {64, 3}, {71, 4}}) {
    EXPECT_TRUE(extend(sequence, reference, std::string(tokens, 'q')));
    EXPECT_EQ(pagesUsed(), pages);
  }
  EXPECT_EQ(sequence.length(), 200u);
}

TEST_F(Cache, TrimReturnsPages) {
  Sequence sequence = session.create_sequence();
  ReferenceSequence reference;
  EXPECT_TRUE(extend(sequence, reference, std::string(130, 'a')));
  EXPECT_EQ(pagesUsed(), 3u);
  sequence.trim(128);
  EXPECT_EQ(pagesUsed(), 2u);
  sequence.trim(65);
  EXPECT_EQ(pagesUsed(), 2u);
  sequence.trim(10);
  EXPECT_EQ(pagesUsed(), 1u);
  EXPECT_EQ(sequence.length(), 10u);
  reference.trim(10);
  EXPECT_TRUE(extend(sequence, reference, "bcd"));
  EXPECT_FAILURE(sequence.trim(14), MOE_ERROR_INVALID_ARGUMENT,
                 "expected at most the 13 tokens of the sequence, found 14");
  sequence.trim(0);
  EXPECT_EQ(pagesUsed(), 0u);
}

TEST_F(Cache, ForkSharesUntilWritten) {
  Sequence parent = session.create_sequence();
  ReferenceSequence parentReference;
  EXPECT_TRUE(extend(parent, parentReference, std::string(70, 'p')));
  EXPECT_EQ(pagesUsed(), 2u);
  Sequence child = parent.fork();
  ReferenceSequence childReference = parentReference;
  EXPECT_EQ(child.length(), 70u);
  EXPECT_EQ(pagesUsed(), 2u);

  // The child writes into the second page, which both hold: it gets a copy.
  EXPECT_TRUE(extend(child, childReference, "child"));
  EXPECT_EQ(pagesUsed(), 3u);
  // The parent is now alone on its page and does not.
  EXPECT_TRUE(extend(parent, parentReference, "par"));
  EXPECT_EQ(pagesUsed(), 3u);
  EXPECT_TRUE(extend(child, childReference, "x"));
}

TEST_F(Cache, FullPagesStayShared) {
  Sequence parent = session.create_sequence();
  ReferenceSequence reference;
  EXPECT_TRUE(extend(parent, reference, std::string(128, 'p')));
  Sequence child = parent.fork();
  ReferenceSequence childReference = reference;
  EXPECT_TRUE(extend(child, childReference, "c"));
  EXPECT_EQ(pagesUsed(), 3u);
  EXPECT_TRUE(extend(parent, reference, "p"));
  EXPECT_EQ(pagesUsed(), 4u);
}

TEST_F(Cache, TrimIntoASharedPage) {
  Sequence parent = session.create_sequence();
  ReferenceSequence parentReference;
  EXPECT_TRUE(extend(parent, parentReference, std::string(100, 'p')));
  Sequence child = parent.fork();
  ReferenceSequence childReference = parentReference;
  child.trim(20);
  childReference.trim(20);
  EXPECT_TRUE(extend(child, childReference, "other"));
  EXPECT_TRUE(extend(parent, parentReference, "z"));
}

TEST_F(Cache, ForksInOneBatch) {
  Sequence parent = session.create_sequence();
  ReferenceSequence reference;
  EXPECT_TRUE(extend(parent, reference, std::string(10, 'p')));
  Sequence child = parent.fork();
  ReferenceSequence childReference = reference;
  const Logits logits =
      session.step("decode", {item(parent, {input("text", "a")}),
                              item(child, {input("text", "b")})});
  reference.addText("a");
  childReference.addText("b");
  EXPECT_EQ(asVector(logits[0]), reference.lastLogits());
  EXPECT_EQ(asVector(logits[1]), childReference.lastLogits());
  EXPECT_EQ(pagesUsed(), 2u);
}

TEST_F(Cache, FreeReturnsPages) {
  {
    Sequence parent = session.create_sequence();
    ReferenceSequence reference;
    EXPECT_TRUE(extend(parent, reference, std::string(70, 'p')));
    Sequence child = parent.fork();
    EXPECT_EQ(session.stats().sequences, 2u);
  }
  EXPECT_EQ(pagesUsed(), 0u);
  EXPECT_EQ(session.stats().sequences, 0u);
}

TEST_F(Cache, GrowsOnDemandAndKeepsContents) {
  std::vector<Sequence> sequences;
  std::vector<ReferenceSequence> references(20);
  for (int i = 0; i < 20; ++i) {
    sequences.push_back(session.create_sequence());
    const auto at = static_cast<size_t>(i);
    EXPECT_TRUE(extend(sequences[at], references[at],
                       std::string(90, static_cast<char>('a' + i))));
  }
  EXPECT_EQ(pagesUsed(), 40u);
  EXPECT_GE(session.stats().cache_pages, 40u);
  for (size_t i = 0; i < 20; ++i)
    EXPECT_TRUE(extend(sequences[i], references[i], "!"));
}

TEST_F(Cache, FixedSizeOfASession) {
  Session small(model, 2, 129); // three pages
  Sequence first = small.create_sequence();
  Sequence second = small.create_sequence();
  EXPECT_FAILURE(small.create_sequence(), MOE_ERROR_CAPACITY,
                 "expected at most 2 sequences");
  EXPECT_FAILURE(first.fork(), MOE_ERROR_CAPACITY, "at most 2 sequences");
  small.step("mixed", first, {input("text", std::string(100, 'a'))});
  EXPECT_EQ(small.stats().cache_pages, 3u);
  small.step("mixed", second, {input("text", std::string(64, 'a'))});
  EXPECT_FAILURE(small.step("decode", second, {input("text", "b")}),
                 MOE_ERROR_CAPACITY,
                 "entry 'decode': needs 64 tokens of cache for 1 new ones, 0 "
                 "are available in the session");
  EXPECT_EQ(second.length(), 64u);
  first.trim(64);
  EXPECT_EQ(small.step("decode", second, {input("text", "b")}).rows(), 1u);
}

TEST_F(Cache, NoSequencesWithoutACache) {
  manifest::ManifestT manifest = artifact.manifest();
  manifest.functions[0]->cache_tokens = 0;
  const FakeArtifact other;
  other.setManifest(manifest);
  const Model uncached = Model::load(engine, other.path());
  Session uncachedSession(uncached);
  EXPECT_FAILURE(uncachedSession.create_sequence(), MOE_ERROR_INVALID_ARGUMENT,
                 "has no entry with a cache");
}

/// Random forks, trims, frees and steps against the reference.
TEST_F(Cache, RandomOperations) {
  std::mt19937 random(7);
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<ReferenceSequence> references;
  for (int round = 0; round < 800; ++round) {
    const unsigned what = random() % 8;
    if (sequences.empty() || (what == 0 && sequences.size() < 8)) {
      sequences.push_back(
          std::make_unique<Sequence>(session.create_sequence()));
      references.emplace_back();
      continue;
    }
    const size_t i = random() % sequences.size();
    Sequence &sequence = *sequences[i];
    if (what == 1 && sequences.size() < 8) {
      sequences.push_back(std::make_unique<Sequence>(sequence.fork()));
      references.push_back(references[i]);
    } else if (what == 2) {
      const size_t length = random() % (references[i].length() + 1);
      sequence.trim(length);
      references[i].trim(length);
    } else if (what == 3) {
      sequences.erase(sequences.begin() + static_cast<std::ptrdiff_t>(i));
      references.erase(references.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      const size_t room = FAKE_CACHE - references[i].length();
      if (room == 0)
        continue;
      const size_t count = 1 + random() % std::min<size_t>(room, 70);
      std::string text;
      for (size_t t = 0; t < count; ++t)
        text += static_cast<char>(random() % 250);
      ASSERT_TRUE(extend(sequence, references[i], text)) << "round " << round;
    }
    ASSERT_EQ(sequences[0]->length(), references[0].length());
  }
  sequences.clear();
  EXPECT_EQ(pagesUsed(), 0u);
}

} // namespace
