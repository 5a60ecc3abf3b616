#include "model/checkpoint/factory.h"

#include <gtest/gtest.h>

#include "compute/ops/check.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using testing::ScratchFolder;
using testing::tiny_model;

// A matrix of a GGUF file whose rows move when it is read (q), or that is used where it is mapped (v).
class LeftOut : public ::testing::Test {
 protected:
  std::unique_ptr<Linear> layer(const std::string& which, bool leave_out, PackedStore* store = nullptr,
                                Pack pack = Pack::kForward) {
    CheckpointFactory factory(checkpoint_, CheckpointFactory::Use::kFrozen, runtime_.pool, runtime_.arena, pack, store);
    if (leave_out) factory.leave_out_copies();
    const std::string name = "model.layers.0.self_attn." + which;
    const Shape shape = checkpoint_.tensor(name + ".weight").shape();
    auto made = factory.linear(name, shape[0], shape[1], false);
    size_t packed_bytes = 0;
    for (const auto& packed : {made->dense().weight().packed, made->dense().weight().packed_transposed})
      packed_bytes += packed ? packed->bytes() : 0;
    EXPECT_EQ(factory.packed_bytes(), packed_bytes);
    return made;
  }
  std::vector<float> product(const Linear& layer) {
    Context ctx = runtime_.context(Compute::kInt8);
    Tensor x = Tensor::zeros(runtime_.arena, DType::kF32, {3, layer.in_features()});
    for (int64_t i = 0; i < x.count(); ++i) x.data<float>()[i] = float(i % 17) - 8;
    const Variable y = layer.forward(ctx, Variable(x));
    return {y.value().data<float>(), y.value().data<float>() + y.value().count()};
  }
  static bool holds_stored(const Linear& layer) { return layer.dense().weight().stored.value().defined(); }
  Checkpoint checkpoint_ = Checkpoint::open(tiny_model("llama.q8_0.gguf"));
  Runtime runtime_{2};
};

TEST_F(LeftOut, TheCopyOfWhatMoves) {
  const auto with = layer("q_proj", false), without = layer("q_proj", true);
  EXPECT_TRUE(holds_stored(*with));
  ASSERT_FALSE(holds_stored(*without));
  EXPECT_EQ(product(*with), product(*without));
  EXPECT_DEATH(ops::matrix(without->dense().weight().stored.value()), "only the packed form was kept");
}

TEST_F(LeftOut, NotWhatIsMappedOrNotPacked) {
  EXPECT_TRUE(holds_stored(*layer("v_proj", true)));
  EXPECT_TRUE(holds_stored(*layer("q_proj", true, nullptr, Pack::kNone)));
  EXPECT_TRUE(holds_stored(*layer("q_proj", true, nullptr, Pack::kBoth)));
}

TEST_F(LeftOut, WithPanelsOnDisk) {
  ScratchFolder folder;
  const PackCacheOptions cache{.folder = folder.path(), .smallest = 0};
  const auto expected = product(*layer("q_proj", false));
  {
    PackedStore store(checkpoint_, cache, 2);
    EXPECT_EQ(product(*layer("q_proj", true, &store)), expected);
    EXPECT_EQ(store.added(), 1u);
    store.save();
  }
  PackedStore store(checkpoint_, cache, 2);
  const auto found = layer("q_proj", true, &store);
  EXPECT_EQ(store.added(), 0u);
  EXPECT_FALSE(holds_stored(*found));
  EXPECT_EQ(product(*found), expected);
}

// The mapping's pages go and come back.
TEST(ForgetPages, TheSameBytesAfterwards) {
  const Checkpoint checkpoint = Checkpoint::open(tiny_model("llama.q8_0.gguf"));
  const StoredTensor& t = checkpoint.source().get("output_norm.weight");
  const std::vector<std::byte> before(static_cast<const std::byte*>(t.data),
                                      static_cast<const std::byte*>(t.data) + t.bytes);
  checkpoint.source().forget_pages();
  EXPECT_TRUE(std::equal(before.begin(), before.end(), static_cast<const std::byte*>(t.data)));
}

}  // namespace
}  // namespace sedum
