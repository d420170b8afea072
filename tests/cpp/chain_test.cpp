// Compares a Chain with its layers called one by one. The bits must be the same for all strips, threads and views.
#include <gtest/gtest.h>

#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::Chain;
using pointwise::Layer;

template <class T>
class ChainOf : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(ChainOf, Types, );

template <class T>
struct Layers {
  std::vector<Layer> layers;

  // Creates layers with random weights, groups and activations. Layer i maps channels[i] to channels[i + 1].
  Layers(const char* layout, int64_t stride, const std::vector<int64_t>& channels, Random& random) {
    const auto number = [&] { return static_cast<T>(random.real()); };
    for (size_t i = 0; i + 1 < channels.size(); ++i) {
      Options options;
      options.layout = layout;
      options.dtype = dtype_of<T>();
      options.stride = {i == 0 ? stride : 1};
      options.groups = channels[i] % 2 == 0 && channels[i + 1] % 2 == 0 && random.one_in(4) ? 2 : 1;
      if (random.one_in(2)) options.activation = pointwise::Activation::silu();
      options.flush_subnormals = random.one_in(3);
      const Array<T> weights = make_array<T>({channels[i + 1], channels[i] / options.groups}, {}, random, number);
      const Array<T> bias = make_array<T>({channels[i + 1]}, {}, random, number);
      layers.emplace_back(weights.view, &bias.view, options);
    }
  }
  Chain chain() const {
    std::vector<const Layer*> all;
    for (const Layer& layer : layers) all.push_back(&layer);
    return Chain(all);
  }
  // Calls the layers one by one, and writes the last result to dst.
  void one_by_one(const View& src, const View& dst, const View* residual) const {
    Array<T> before, after;
    View from = src;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (i + 1 == layers.size()) {
        layers[i](from, dst, residual, 1);
        return;
      }
      const Shape shape = layers[i].output_shape(from.shape);
      after.memory.assign(static_cast<size_t>(elements(shape)) * sizeof(T), 0);
      after.view = View(after.memory.data(), dtype_of<T>(), shape);
      layers[i](from, after.view, nullptr, 1);
      before = after;
      from = before.view;
    }
  }
};

struct Sizes {
  const char* layout;
  Shape src;
  std::vector<int64_t> channels;  // output channels of each layer
};

template <class T>
void compare(const Sizes& sizes, bool views, Random& random) {
  const auto number = [&] { return static_cast<T>(random.real()); };
  std::vector<int64_t> channels{sizes.src[static_cast<int>(std::string(sizes.layout).find('C'))]};
  channels.insert(channels.end(), sizes.channels.begin(), sizes.channels.end());
  for (const int64_t stride : {1, 2}) {
    const Layers<T> layers(sizes.layout, stride, channels, random);
    const Chain chain = layers.chain();
    const Shape output = chain.output_shape(sizes.src);
    const auto lies = [&](bool read_only) { return views ? random_lies(random, read_only) : Lies{}; };
    const Array<T> src = make_array<T>(sizes.src, lies(true), random, number);
    const Array<T> residual = make_array<T>(output, lies(true), random, number);
    const Array<T> dst = make_array<T>(output, lies(false), random, number);
    for (const View* add : {static_cast<const View*>(nullptr), &residual.view}) {
      const Array<T> expected = dst;
      layers.one_by_one(src.view, expected.view, add);
      for (const int threads : {1, 2, 5}) {
        const Array<T> got = dst;
        chain(src.view, got.view, add, threads);
        ASSERT_TRUE(got.memory == expected.memory)
            << sizes.layout << " " << to_string(sizes.src) << ", stride " << stride << ", threads " << threads;
      }
    }
  }
}

TYPED_TEST(ChainOf, HasTheBitsOfItsLayers) {
  const Sizes table[] = {
      {"NCHW", {2, 7, 9, 11}, {5}},
      {"NHWC", {2, 9, 11, 7}, {33, 9}},
      {"NCHW", {3, 16, 40, 40}, {64, 17, 40}},
      {"NHWC", {3, 40, 40, 16}, {96, 24}},
      {"NC", {300, 20}, {200, 300}},
      {"C", {5}, {3, 2}},
      {"CHW", {8, 130, 50}, {40, 4, 1}},
      {"NCHW", {1, 64, 3, 5}, {1, 64}},
      {"NCHW", {1, 300, 40, 30}, {400, 30}},
      {"NCDHW", {2, 6, 4, 25, 26}, {8, 8}},
      {"NWC", {1, 7000, 3}, {16, 16, 3}},
      {"NHWC", {1, 1, 1, 40}, {160, 40}},
      {"NCHW", {0, 3, 4, 4}, {5, 6}},
      {"NCHW", {1, 3, 0, 4}, {5, 6}},
      {"NCHW", {1, 0, 30, 40}, {5, 6}},
      {"NCHW", {1, 3, 30, 40}, {5, 0, 6}},
      {"NCHW", {1, 3, 30, 40}, {5, 6, 0}},
  };
  Random random(sizeof(TypeParam));
  for (const Sizes& sizes : table)
    for (const bool views : {false, true}) {
      compare<TypeParam>(sizes, views, random);
      if (testing::Test::HasFatalFailure()) return;
    }
}

// Tries random sizes in views. In views, a strip has one or more rows of pixels.
TYPED_TEST(ChainOf, HasThemInViews) {
  Random random(50 + sizeof(TypeParam));
  for (int round = 0; round < 12; ++round) {
    const int64_t wide = random.integer(1, 3) * 200;
    const Sizes sizes{random.one_in(2) ? "NCHW" : "NHWC", {}, {wide, random.integer(1, 30)}};
    const Shape src = sizes.layout[1] == 'C'
                          ? Shape{2, random.integer(1, 20), random.integer(1, 60), random.integer(1, 60)}
                          : Shape{2, random.integer(1, 60), random.integer(1, 60), random.integer(1, 20)};
    compare<TypeParam>({sizes.layout, src, sizes.channels}, true, random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

std::string refusal(const std::vector<const Layer*>& layers) {
  try {
    const Chain chain(layers);
  } catch (const pointwise::Error& error) {
    EXPECT_EQ(error.argument(), pointwise::Argument::layers);
    return error.detail();
  }
  return {};
}

TEST(Chain, RefusesLayersThatDoNotFollow) {
  const std::vector<float> numbers(64);
  const auto layer = [&](int64_t inputs, int64_t channels, const char* layout, int64_t stride, int64_t padding) {
    Options options;
    options.layout = layout;
    options.stride = {stride};
    options.padding = {padding};
    return Layer(View(numbers.data(), pointwise::DType::f32, {channels, inputs}), nullptr, options);
  };
  const Layer a = layer(3, 4, "NCHW", 1, 0), b = layer(4, 5, "NCHW", 1, 0), other = layer(5, 5, "NCHW", 1, 0);
  const Layer last = layer(4, 5, "NHWC", 1, 0), strided = layer(4, 5, "NCHW", 2, 0), padded = layer(4, 5, "NCHW", 1, 1);
  Options wide;
  wide.dtype = pointwise::DType::f64;
  const std::vector<double> doubles(64);
  const Layer f64(View(doubles.data(), pointwise::DType::f64, {5, 4}), nullptr, wide);
  EXPECT_EQ(refusal({&a, &b}), "");
  EXPECT_EQ(refusal({&strided}), "");
  EXPECT_NE(refusal({}).find("at least one layer"), std::string::npos);
  EXPECT_NE(refusal({&a, &other}).find("layer 1 must read the 4 channels"), std::string::npos);
  EXPECT_NE(refusal({&a, &last}).find("layout NCHW, got NHWC"), std::string::npos);
  EXPECT_NE(refusal({&a, &strided}).find("stride 1"), std::string::npos);
  EXPECT_NE(refusal({&a, &padded}).find("no padding"), std::string::npos);
  EXPECT_NE(refusal({&padded}).find("layer 0 must have no padding, got 1"), std::string::npos);
  EXPECT_NE(refusal({&a, &f64}).find("dtype"), std::string::npos);
}

TEST(Chain, ChecksShapes) {
  const std::vector<float> numbers(64);
  const Layer a(View(numbers.data(), pointwise::DType::f32, {4, 3}), nullptr, Options());
  const Layer b(View(numbers.data(), pointwise::DType::f32, {5, 4}), nullptr, Options());
  const Chain chain({&a, &b});
  EXPECT_EQ(chain.output_shape({2, 3, 6, 7}), (Shape{2, 5, 6, 7}));
  EXPECT_THROW(chain.output_shape({2, 4, 6, 7}), pointwise::Error);
  std::vector<float> src(12), dst(20);
  const View from(src.data(), pointwise::DType::f32, {1, 3, 2, 2}), to(dst.data(), pointwise::DType::f32, {1, 5, 2, 2});
  EXPECT_THROW(chain(from, from), pointwise::Error);
  EXPECT_THROW(chain(from, to, &from), pointwise::Error);
}

}  // namespace
}  // namespace pointwise_tests
