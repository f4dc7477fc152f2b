//===- SegmentTest.cpp - Very large weight segments -----------------------===//

#include "compiler/artifact/ElfPatcher.h"
#include "compiler/artifact/ObjectEmitter.h"
#include "compiler/artifact/OutputFile.h"
#include "compiler/artifact/SharedLinker.h"

#include "ArtifactTestSupport.h"

#include "runtime/abi/moe_abi.h"

#include <gtest/gtest.h>

#include <dlfcn.h>

using namespace moec;
using namespace moec::test;

namespace {

constexpr const char *emptyModel = R"mlir(
module attributes {moex.variants = [{function = "f", isa = "generic"}]} {
  llvm.func @f_scratch__generic(%extents: !llvm.ptr) -> i64 {
    %none = llvm.mlir.constant(0 : i64) : i64
    llvm.return %none : i64
  }
  llvm.func @f_step__generic(%step: !llvm.ptr) -> i32 {
    %ok = llvm.mlir.constant(0 : i32) : i32
    llvm.return %ok : i32
  }
})mlir";

class Segment : public ::testing::Test {
protected:
  /// The library with addresses for so many bytes, not mapped yet.
  llvm::SmallVector<char, 0> link(uint64_t segmentBytes) {
    auto module = test.parse(emptyModel);
    ObjectContents contents;
    contents.manifest = "manifest";
    contents.segmentBytes = segmentBytes;
    contents.embedded = true;
    llvm::SmallVector<char, 0> object;
    if (!module || failed(emitCode(*module, contents, /*level=*/2,
                                   CodeKind::Object, object))) {
      ADD_FAILURE() << test.errors;
      return {};
    }
    // What the weights do not cost: bytes of the object.
    EXPECT_LT(object.size(), 10000u);
    auto library = linkShared(llvm::StringRef(object.data(), object.size()));
    if (!library) {
      ADD_FAILURE() << llvm::toString(library.takeError());
      return {};
    }
    EXPECT_LT(library->size(), 100000u);
    return std::move(*library);
  }

  TestContext test;
  TemporaryFolder folder;
};

TEST_F(Segment, MoreThan32BitsOfWeightsAreMapped) {
  // A sparse file: only its ends take room on the disk.
  const uint64_t bytes = (uint64_t(5) << 30) + 68;
  llvm::SmallVector<char, 0> library = link(bytes);
  ASSERT_FALSE(library.empty());
  auto offset = ElfPatcher(library).mapWeights(bytes);
  ASSERT_TRUE(static_cast<bool>(offset)) << llvm::toString(offset.takeError());
  EXPECT_EQ(*offset % elfPageBytes, 0u);

  std::string path = folder.file("large.so");
  {
    auto file = OutputFile::create(path);
    ASSERT_TRUE(static_cast<bool>(file));
    ASSERT_FALSE(file->append(llvm::StringRef(library.data(), library.size())));
    ASSERT_FALSE(file->writeAt(*offset, "first"));
    ASSERT_FALSE(file->writeAt(*offset + bytes - 4, "last"));
    ASSERT_FALSE(file->commit());
  }
  void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_TRUE(handle) << dlerror();
  auto query = reinterpret_cast<moe_model_query_v1_fn>(
      dlsym(handle, MOE_MODEL_QUERY_SYMBOL));
  ASSERT_TRUE(query);
  auto parallel = [](void *, moe_region_fn, void *) { return int32_t(0); };
  auto barrier = [](const moe_worker_v1 *) {};
  moe_host_v1 host = {
      sizeof(moe_host_v1), MOE_ABI_VERSION, 0, nullptr, parallel, barrier,
      /*launch=*/nullptr};
  const moe_model_v1 *model = query(MOE_ABI_VERSION, &host);
  ASSERT_TRUE(model);
  const auto *data = static_cast<const char *>(model->segments->data);
  EXPECT_EQ(std::string(data, 5), "first");
  EXPECT_EQ(std::string(data + bytes - 4, 4), "last");
  EXPECT_EQ(data[bytes / 2], 0);
  EXPECT_EQ(std::string(static_cast<const char *>(model->manifest),
                        model->manifest_bytes),
            "manifest");
  dlclose(handle);
}

TEST_F(Segment, TablesMayBeAnySize) {
  for (uint64_t bytes : {uint64_t(1), uint64_t(4095), uint64_t(4096)}) {
    llvm::SmallVector<char, 0> library = link(bytes);
    ASSERT_FALSE(library.empty());
    auto offset = ElfPatcher(library).mapWeights(bytes);
    ASSERT_TRUE(static_cast<bool>(offset))
        << llvm::toString(offset.takeError());
    EXPECT_GE(*offset, library.size());
  }
}

TEST_F(Segment, ReservedAddressesMustSuffice) {
  llvm::SmallVector<char, 0> library = link(4096);
  ASSERT_FALSE(library.empty());
  auto offset = ElfPatcher(library).mapWeights(8192);
  EXPECT_FALSE(static_cast<bool>(offset));
  llvm::consumeError(offset.takeError());
}

TEST_F(Segment, DamagedObjectIsALinkerError) {
  auto library = linkShared("not an object");
  ASSERT_FALSE(static_cast<bool>(library));
  std::string text = llvm::toString(library.takeError());
  EXPECT_EQ(text.rfind("linker: ", 0), 0u) << text;
  // And the linker can be used again.
  EXPECT_FALSE(link(64).empty());
}

} // namespace
