// Checks that every alternative of a product gives the same bits as the chosen alternative.
#include "measure/alternatives.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/registry.h"
#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::Alternative;
using pointwise::Alternatives;
using pointwise::Blocking;
using pointwise::Layer;
using pointwise::Packing;

struct Given {
  const char* what;
  const char* layout;
  Shape src;
  int64_t c_out;
  std::vector<int64_t> stride, padding;
  int64_t groups;
};

const Given table[] = {
    {"plain", "NCHW", {1, 37, 9, 11}, 21, {1}, {0}, 1},
    {"channels last", "NHWC", {2, 9, 11, 37}, 21, {1}, {0}, 1},
    {"stride", "NCHW", {2, 24, 15, 13}, 40, {2}, {0}, 1},
    {"stride, channels last", "NHWC", {2, 15, 13, 24}, 40, {2}, {0}, 1},
    {"padding", "NCHW", {1, 30, 7, 9}, 33, {1}, {2}, 1},
    {"padding of one axis, stride of the other, groups", "NHWC", {1, 7, 9, 30}, 36, {1, 3}, {2, 0}, 3},
    {"groups", "NCHW", {3, 24, 5, 5}, 18, {1}, {0}, 6},
    {"split input channels", "NCHW", {2, 2000, 7, 7}, 35, {1}, {0}, 1},
    {"split input channels, channels last", "NHWC", {1, 14, 13, 2000}, 70, {2}, {1}, 1},
    {"crowded L1", "NCHW", {1, 900, 14, 14}, 64, {1}, {0}, 1},
    {"one pixel", "NC", {1, 300}, 200, {1}, {0}, 1},
    {"volumes", "NCDHW", {1, 20, 4, 5, 6}, 17, {2, 1, 1}, {0, 1, 0}, 1},
};

Options options_of(const Given& given, pointwise::DType dtype) {
  Options options;
  options.layout = given.layout;
  options.stride = given.stride;
  options.padding = given.padding;
  options.groups = given.groups;
  options.activation = pointwise::Activation::relu();
  options.dtype = dtype;
  return options;
}

template <class T>
class AlternativesOf : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(AlternativesOf, Types, );

TYPED_TEST(AlternativesOf, HaveTheBitsOfTheChoice) {
  using T = TypeParam;
  Random random(60);
  std::set<Packing> packings;
  bool split = false, copied = false;
  for (const Given& given : table) {
    SCOPED_TRACE(given.what);
    const Options options = options_of(given, dtype_of<T>());
    const int64_t inputs = given.src[static_cast<int>(options.layout.find('C'))] / given.groups;
    const std::vector<T> weights = reals<T>(given.c_out * inputs, random), bias = reals<T>(given.c_out, random);
    const View bias_view(bias.data(), options.dtype, {given.c_out});
    const Layer layer(View(weights.data(), options.dtype, {given.c_out, inputs}), &bias_view, options);
    const std::vector<T> src = reals<T>(elements(given.src), random);
    const Alternatives alternatives(layer, given.src);
    ASSERT_EQ(alternatives.dst_shape(), layer.output_shape(given.src));
    ASSERT_GE(alternatives.all().size(), 2u);

    std::vector<T> chosen(static_cast<size_t>(elements(alternatives.dst_shape())));
    layer(View(src.data(), options.dtype, given.src), View(chosen.data(), options.dtype, alternatives.dst_shape()),
          nullptr, 1);
    std::set<std::string> words;
    for (size_t i = 0; i < alternatives.all().size(); ++i) {
      const Alternative& alternative = alternatives.all()[i];
      SCOPED_TRACE(alternative.words);
      EXPECT_TRUE(words.insert(alternative.words).second) << "two alternatives have the same description";
      EXPECT_GE(alternative.cycles, alternatives.all()[0].cycles) << "the first alternative must be the choice";
      std::vector<T> dst(chosen.size(), std::numeric_limits<T>::quiet_NaN());
      alternatives.run(i, src.data(), dst.data());
      EXPECT_TRUE(same_bits(dst, chosen));
      for (int box = 0; box < alternative.plan.product.boxes; ++box) {
        const Blocking& b = alternative.plan.blocking[box];
        packings.insert(b.packing);
        split = split || b.sums > 0;
        copied = copied || b.copy > 0;
        EXPECT_LE(b.packed, alternative.plan.workspace.size(pointwise::Region::packed));
        EXPECT_LE(b.sums, alternative.plan.workspace.size(pointwise::Region::sums));
        EXPECT_LE(b.copy, alternative.plan.workspace.size(pointwise::Region::copy));
      }
    }
  }
  EXPECT_EQ(packings, (std::set<Packing>{Packing::none, Packing::channels, Packing::pixels}));
  EXPECT_TRUE(split);
  EXPECT_EQ(copied, std::string(pointwise::selected_isa().floating) != "avx512")
      << "only kernel rows with narrow vectors copy pixels";
}

TEST(Alternatives, OfAnEmptyResultThereAreNone) {
  const std::vector<float> weights(8);
  const Layer layer(View(weights.data(), pointwise::DType::f32, {2, 4}), nullptr, Options());
  EXPECT_TRUE(Alternatives(layer, {0, 4, 3, 3}).all().empty());
  EXPECT_THROW(Alternatives(layer, {1, 5, 3, 3}), pointwise::Error);
}

// If src has no channels, it is not read. Then every box has k = 0, like a box in the padding.
TEST(Alternatives, OfNoInputChannels) {
  const std::vector<float> bias{1, -2};
  const View bias_view(bias.data(), pointwise::DType::f32, {2});
  const Layer layer(View(bias.data(), pointwise::DType::f32, {2, 0}), &bias_view, Options());
  const Alternatives alternatives(layer, {1, 0, 2, 2});
  ASSERT_FALSE(alternatives.all().empty());
  for (size_t i = 0; i < alternatives.all().size(); ++i) {
    std::vector<float> dst(8);
    alternatives.run(i, nullptr, dst.data());
    EXPECT_EQ(dst, (std::vector<float>{1, 1, 1, 1, -2, -2, -2, -2})) << alternatives.all()[i].words;
  }
}

}  // namespace
}  // namespace pointwise_tests
