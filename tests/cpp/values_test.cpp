// Tests that NaN, infinities, signed zeros and subnormals give the results of IEEE 754, and that unused lanes change no
// result.
#include <gtest/gtest.h>

#include "kernel_case.h"
#include "problem.h"

namespace pointwise_tests {
namespace {

template <class T>
class Values : public testing::Test {
 protected:
  static constexpr T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Values, Types, );

// Returns the results of layers in both layouts. In each layer all numbers are equal. Some results are in the middle of
// a vector, and others are in a remainder.
template <class T>
std::vector<T> results(T weight, T number, T bias, bool relu) {
  std::vector<T> all;
  for (const char* layout : {"NCHW", "NHWC"})
    for (const int64_t channels : {1, 19})
      for (const int64_t side : {1, 5}) {
        Options options;
        options.dtype = dtype_of<T>();
        options.layout = layout;
        if (relu) options.activation = pointwise::Activation::relu();
        const std::vector<T> weights(static_cast<size_t>(channels), weight), biases(weights.size(), bias);
        const Shape src_shape = std::string(layout) == "NCHW" ? Shape{1, 1, side, side} : Shape{1, side, side, 1};
        const std::vector<T> src(static_cast<size_t>(side * side), number);
        const View bias_view(biases.data(), options.dtype, {channels});
        const pointwise::Layer layer(View(weights.data(), options.dtype, {channels, 1}), &bias_view, options);
        std::vector<T> dst(src.size() * weights.size(), T{77});
        layer(View(src.data(), options.dtype, src_shape),
              View(dst.data(), options.dtype, layer.output_shape(src_shape)));
        all.insert(all.end(), dst.begin(), dst.end());
      }
  return all;
}

TYPED_TEST(Values, NoTermIsSkipped) {
  using T = TypeParam;
  for (const bool relu : {false, true}) {
    for (const T v : results<T>(0, this->infinity, 1, relu)) EXPECT_TRUE(std::isnan(v));
    for (const T v : results<T>(this->infinity, 0, 1, relu)) EXPECT_TRUE(std::isnan(v));
    for (const T v : results<T>(0, this->nan, 1, relu)) EXPECT_TRUE(std::isnan(v));
    for (const T v : results<T>(1, 1, this->nan, relu)) EXPECT_TRUE(std::isnan(v));
    for (const T v : results<T>(2, this->infinity, 1, relu)) EXPECT_EQ(v, this->infinity);
    for (const T v : results<T>(1, 1, -this->infinity, relu)) EXPECT_EQ(v, relu ? T{0} : -this->infinity);
    for (const T v : results<T>(1, std::numeric_limits<T>::denorm_min(), 0, relu))
      EXPECT_EQ(v, std::numeric_limits<T>::denorm_min());
  }
}

TYPED_TEST(Values, ReluKeepsNegativeZero) {
  using T = TypeParam;
  const T minus_zero = -T{0};
  for (const bool relu : {false, true}) {
    for (const T v : results<T>(1, minus_zero, minus_zero, relu)) EXPECT_TRUE(same_bits(v, minus_zero));
    for (const T v : results<T>(1, minus_zero, 0, relu)) EXPECT_TRUE(same_bits(v, T{0}));
    for (const T v : results<T>(-1, 2, 1, relu)) EXPECT_TRUE(same_bits(v, relu ? T{0} : T{-1}));
  }
}

// Without a bias the sum starts at +0. Without input channels it stays +0.
TYPED_TEST(Values, NoBiasIsPositiveZero) {
  using T = TypeParam;
  Options options;
  options.dtype = dtype_of<T>();
  options.layout = "NC";
  const T minus_zero = -T{0}, one = 1;
  T dst = 77;
  const pointwise::Layer layer(View(&one, options.dtype, {1, 1}), nullptr, options);
  layer(View(&minus_zero, options.dtype, {1, 1}), View(&dst, options.dtype, {1, 1}));
  EXPECT_TRUE(same_bits(dst, T{0}));
  const pointwise::Layer empty(View(&one, options.dtype, {1, 0}), nullptr, options);
  dst = 77;
  empty(View(&one, options.dtype, {1, 0}), View(&dst, options.dtype, {1, 1}), nullptr);
  EXPECT_TRUE(same_bits(dst, T{0}));
}

// An output pixel in the padding reads no pixel of the image. Its value is bias + residual, even if a weight is
// infinite.
TYPED_TEST(Values, PaddingReadsNothing) {
  using T = TypeParam;
  Options options;
  options.dtype = dtype_of<T>();
  options.layout = "NCW";
  options.padding = {2};
  const std::vector<T> weights{this->infinity, this->nan}, src(4, T{1}), bias{3, 4};
  const View bias_view(bias.data(), options.dtype, {2});
  const pointwise::Layer layer(View(weights.data(), options.dtype, {2, 1}), &bias_view, options);
  std::vector<T> dst(16);
  layer(View(src.data(), options.dtype, {1, 1, 4}), View(dst.data(), options.dtype, {1, 2, 8}));
  for (const size_t p : {0, 1, 6, 7}) {
    EXPECT_EQ(dst[p], 3);
    EXPECT_EQ(dst[8 + p], 4);
  }
  for (const size_t p : {2, 3, 4, 5}) {
    EXPECT_EQ(dst[p], this->infinity);
    EXPECT_TRUE(std::isnan(dst[8 + p]));
  }
}

// The last panel has weights of zero in unused lanes. There a NaN in x gives NaN, too. These lanes must not reach the
// result. So a NaN in one pixel or channel changes no other pixel or channel.
TYPED_TEST(Values, NothingLeaksBetweenLanes) {
  using T = TypeParam;
  Arena arena;
  const KernelTable& table = pointwise::kernels(dtype_of<T>());
  for (int i = 0; i < table.rows.count; ++i) {
    const KernelRow& row = table.rows[i];
    if (!takes_cases(row)) continue;
    SCOPED_TRACE(row.name);
    const bool channel_rows = row.rows == Rows::channels;
    const int64_t vectors = int64_t{row.nr} * row.lanes;
    const int64_t pixels = channel_rows ? vectors + 3 : row.mr + 1, channels = channel_rows ? row.mr + 3 : vectors + 3;
    for (const Lie y : all_lies)
      for (const bool odd_pixel : {true, false}) {
        Random random(6);
        KernelCase<T> k({pixels, channels, 3}, lie_for(row), y, y, false, true, random);
        const int64_t odd = odd_pixel ? pixels - 2 : channels - 2;
        (odd_pixel ? k.x : k.weights)[static_cast<size_t>(3 * odd + 1)] = this->nan;
        k.lay_out(&arena, 0);
        k.run(row, &arena);
        for (int64_t p = 0; p < pixels; ++p)
          for (int64_t c = 0; c < channels; ++c) {
            T v;
            std::memcpy(&v, k.y.data() + k.guard + k.y_place.at(p, c), sizeof(T));
            if ((odd_pixel ? p : c) == odd)
              ASSERT_TRUE(std::isnan(v)) << "pixel " << p << ", channel " << c << ", y " << to_string(y);
            else
              ASSERT_EQ(v, k.canonical(p, c)) << "pixel " << p << ", channel " << c << ", y " << to_string(y);
          }
      }
  }
}

TEST(Bound, RefusesNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(within_bound(1.0f, 1.0f, 1, 1.0));
  EXPECT_FALSE(within_bound(nan, 1.0f, 1, 1.0));
  EXPECT_FALSE(within_bound(1.0f, nan, 1, 1.0));
  EXPECT_FALSE(within_bound(1.0f, 1.0f, 1, static_cast<double>(nan)));
  EXPECT_FALSE(within_bound(1.00001f, 1.0f, 1, 1.0));
}

}  // namespace
}  // namespace pointwise_tests
