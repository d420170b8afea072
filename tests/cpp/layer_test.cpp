// Compares Layer with the reference on random convolutions.
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "convolution/reference.h"
#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::Layer;

// Returns the number of random convolutions. Set POINTWISE_TEST_ROUNDS for longer runs.
int rounds() {
  const char* text = std::getenv("POINTWISE_TEST_ROUNDS");
  return text ? std::atoi(text) : 600;
}

template <class T>
class LayerOf : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(LayerOf, Types, );

// The arrays of a problem, filled by `number()`.
template <class T>
struct Arrays {
  Array<T> weights, bias, src, dst, residual, scale;

  template <class Number>
  Arrays(const Problem& p, Random& random, const Number& number) {
    weights = make_array<T>({p.c_out, p.inputs}, random_lies(random, true), random, number);
    bias = make_array<T>({p.c_out}, random_lies(random, true), random, number);
    src = make_array<T>(p.src, random_lies(random, true), random, number);
    const Layer shapes(weights.view, nullptr, p.options);
    const Shape output = shapes.output_shape(p.src);
    dst = make_array<T>(output, random_lies(random, false), random, number);
    residual = make_array<T>(output, random_lies(random, true), random, number);
    scale = make_array<T>(p.scales(), random_lies(random, true), random, number);
  }
};

TYPED_TEST(LayerOf, IntegersAreExact) {
  using T = TypeParam;
  Random random(sizeof(T));
  for (int round = 0; round < rounds(); ++round) {
    const Problem p = random_problem(random, dtype_of<T>());
    SCOPED_TRACE("round " + std::to_string(round) + ": " + p.text());
    Arrays<T> a(p, random, [&] { return small_integer<T>(random); });
    const View* bias = p.bias ? &a.bias.view : nullptr;
    const Layer layer(a.weights.view, bias, p.options);
    const bool in_place = p.residual && random.one_in(3);
    Array<T> expected = a.dst;
    const View* residual = !p.residual ? nullptr : in_place ? &expected.view : &a.residual.view;
    const View* scale = p.scaled ? &a.scale.view : nullptr;
    reference(a.weights.view, bias, p.options, a.src.view, expected.view, residual, nullptr, scale);
    layer(a.src.view, a.dst.view, in_place ? &a.dst.view : residual, p.threads, scale);
    // Compares all of the memory, because gaps must not change.
    ASSERT_TRUE(a.dst.memory == expected.memory) << (in_place ? "in place\n" : "\n") << layer.explain(p.src);
  }
}

TYPED_TEST(LayerOf, RealsKeepTheBound) {
  using T = TypeParam;
  Random random(10 + sizeof(T));
  for (int round = 0; round < rounds(); ++round) {
    const Problem p = random_problem(random, dtype_of<T>());
    SCOPED_TRACE("round " + std::to_string(round) + ": " + p.text());
    // Some numbers are small enough for subnormal products.
    const int exponent = random.one_in(4) ? std::numeric_limits<T>::min_exponent / 2 - 2 : 0;
    Arrays<T> a(p, random, [&] { return static_cast<T>(std::ldexp(random.real(), exponent)); });
    const View *bias = p.bias ? &a.bias.view : nullptr, *residual = p.residual ? &a.residual.view : nullptr;
    const Layer layer(a.weights.view, bias, p.options);
    Array<T> expected = a.dst;
    std::vector<double> magnitude(static_cast<size_t>(elements(a.dst.view.shape)));
    const View* scale = p.scaled ? &a.scale.view : nullptr;
    reference(a.weights.view, bias, p.options, a.src.view, expected.view, residual, magnitude.data(), scale);
    layer(a.src.view, a.dst.view, residual, p.threads, scale);
    const std::vector<T> got = a.dst.values(), want = expected.values();
    for (size_t e = 0; e < got.size(); ++e)
      ASSERT_TRUE(within_bound(got[e], want[e], p.inputs, magnitude[e]))
          << "element " << e << ": " << got[e] << ", expected " << want[e] << "\n"
          << layer.explain(p.src);
  }
}

// Tests problems that are large enough for several blocks, many pieces and several threads. Few of the random problems
// are that large.
TYPED_TEST(LayerOf, LargeProblems) {
  using T = TypeParam;
  struct Large {
    const char* layout;
    Shape src;
    int64_t c_out, stride, padding, groups;
  };
  const Large table[] = {
      {"NCHW", {1, 3000, 7, 7}, 70, 1, 0, 1},     {"NHWC", {1, 7, 7, 3000}, 70, 1, 0, 1},
      {"NCHW", {2, 96, 41, 37}, 100, 1, 0, 1},    {"NHWC", {2, 41, 37, 96}, 100, 1, 0, 1},
      {"NCHW", {1, 256, 45, 45}, 64, 2, 1, 1},    {"NHWC", {1, 45, 45, 256}, 64, 2, 1, 1},
      {"NCHW", {16, 128, 7, 7}, 130, 1, 0, 1},    {"NC", {300, 500}, 301, 1, 0, 1},
      {"NC", {1, 4000}, 1001, 1, 0, 1},           {"NCW", {1, 20, 5000}, 33, 1, 2, 1},
      {"NCHW", {3, 96, 30, 30}, 120, 1, 0, 3},    {"NHWC", {3, 30, 30, 96}, 120, 1, 0, 3},
      {"NCDHW", {1, 40, 9, 20, 20}, 50, 2, 1, 1}, {"NHWC", {1, 200, 200, 3}, 3, 1, 0, 1},
      {"NCHW", {1, 4200, 20, 20}, 40, 1, 0, 1},
  };
  Random random(20);
  for (const Large& large : table) {
    Problem p;
    p.options.dtype = dtype_of<T>();
    p.options.layout = large.layout;
    p.options.stride = {large.stride};
    p.options.padding = {large.padding};
    p.options.groups = large.groups;
    p.options.activation = pointwise::Activation::relu();
    p.src = large.src;
    p.inputs = large.src[static_cast<int>(p.options.layout.find('C'))] / large.groups;
    p.c_out = large.c_out;
    p.bias = p.residual = true;
    p.scaled = false;
    const auto number = [&] { return small_integer<T>(random); };
    Arrays<T> a(p, random, number);
    a.src = make_array<T>(p.src, {}, random, number);
    const Layer layer(a.weights.view, &a.bias.view, p.options);
    const Array<T> expected = a.dst;
    reference(a.weights.view, &a.bias.view, p.options, a.src.view, expected.view, &a.residual.view);
    for (const int threads : {1, 2, 5}) {
      p.threads = threads;
      const Array<T> dst = a.dst;
      layer(a.src.view, dst.view, &a.residual.view, threads);
      ASSERT_TRUE(dst.memory == expected.memory) << p.text() << "\n" << layer.explain(p.src);
    }
    // Runs again with an input scale, and with an activation that needs more than a floor.
    p.options.activation = pointwise::Activation::leaky_relu(0.5);
    const Layer leaky(a.weights.view, &a.bias.view, p.options);
    const Array<T> scaled = a.dst;
    reference(a.weights.view, &a.bias.view, p.options, a.src.view, scaled.view, &a.residual.view, nullptr,
              &a.scale.view);
    for (const int threads : {1, 3}) {
      const Array<T> dst = a.dst;
      leaky(a.src.view, dst.view, &a.residual.view, threads, &a.scale.view);
      ASSERT_TRUE(dst.memory == scaled.memory) << p.text() << ", scaled\n" << leaky.explain(p.src);
    }
  }
}

TYPED_TEST(LayerOf, KeepsWeightsAndBias) {
  using T = TypeParam;
  Random random(30);
  for (const int64_t groups : {1, 3})
    for (const int64_t channels : {1, 8, 17, 33})
      for (const int64_t inputs : {0, 1, 5}) {
        const auto number = [&] { return static_cast<T>(random.real()); };
        const Array<T> weights = make_array<T>({groups * channels, inputs}, random_lies(random, true), random, number);
        const Array<T> bias = make_array<T>({groups * channels}, random_lies(random, true), random, number);
        Options options;
        options.dtype = dtype_of<T>();
        options.groups = groups;
        const Layer layer(weights.view, &bias.view, options);
        EXPECT_EQ(layer.c_in(), groups * inputs);
        EXPECT_EQ(layer.c_out(), groups * channels);
        EXPECT_TRUE(layer.has_bias());
        std::vector<T> got(static_cast<size_t>(groups * channels * inputs)),
            got_bias(static_cast<size_t>(groups * channels));
        layer.copy_weights(got.data());
        layer.copy_bias(got_bias.data());
        EXPECT_TRUE(same_bits(got, weights.values()));
        EXPECT_TRUE(same_bits(got_bias, bias.values()));
        EXPECT_FALSE(Layer(weights.view, nullptr, options).has_bias());
      }
}

// Tests that a call gets another plan if it has the same shapes, but other strides or another residual.
TEST(Layer, HasInt8Weights) {
  std::vector<int8_t> weights(5 * 37), kept(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<int8_t>(static_cast<int>(i * 29 % 256) - 128);
  const std::vector<float> bias{1, -2, 3, -4, 5};
  Options o;
  o.layout = "NC";
  o.weight_dtype = pointwise::DType::i8;
  o.weight_scales = {1, 2, 0.5F, 4, 0.25F};
  const View view(weights.data(), pointwise::DType::i8, {5, 37}), bias_view(bias.data(), pointwise::DType::f32, {5});
  const Layer packed(view, &bias_view, o), borrowed = Layer::borrowing(view, &bias_view, o);  // both copy the weights
  packed.copy_weights(kept.data());
  EXPECT_EQ(kept, weights);
  for (const int64_t pixels : {1, 2, 50}) {
    std::vector<float> src(static_cast<size_t>(pixels * 37)), dst(static_cast<size_t>(pixels * 5));
    for (size_t i = 0; i < src.size(); ++i) src[i] = static_cast<float>(i % 7) - 3;
    for (const Layer* layer : {&packed, &borrowed}) {
      (*layer)(View(src.data(), pointwise::DType::f32, {pixels, 37}),
               View(dst.data(), pointwise::DType::f32, {pixels, 5}));
      for (size_t p = 0; p < static_cast<size_t>(pixels); ++p)
        for (size_t c = 0; c < 5; ++c) {
          float sum = 0;  // exact
          for (size_t i = 0; i < 37; ++i) sum += src[p * 37 + i] * static_cast<float>(weights[c * 37 + i]);
          EXPECT_EQ(dst[p * 5 + c], sum * o.weight_scales[c] + bias[c]);
        }
    }
  }
}

TEST(Layer, PlansAreOfOneCall) {
  Random random(35);
  const auto number = [&] { return small_integer<float>(random); };
  const Array<float> weights = make_array<float>({20, 6}, {}, random, number);
  const Shape src_shape{2, 6, 5, 4}, dst_shape{2, 20, 5, 4};
  const Layer layer(weights.view, nullptr, Options());
  Lies permuted, gaps;
  permuted.permuted = true;
  gaps.gaps = true;
  const Lies lies[] = {{}, permuted, gaps};
  for (const Lies& src_lies : lies)
    for (const Lies& dst_lies : lies)
      for (const Lies& residual_lies : lies)
        for (const bool with_residual : {false, true}) {
          const Array<float> src = make_array<float>(src_shape, src_lies, random, number);
          const Array<float> residual = make_array<float>(dst_shape, residual_lies, random, number);
          const Array<float> dst = make_array<float>(dst_shape, dst_lies, random, number);
          const Array<float> expected = dst;
          const View* add = with_residual ? &residual.view : nullptr;
          reference(weights.view, nullptr, Options(), src.view, expected.view, add);
          layer(src.view, dst.view, add, 1);
          ASSERT_TRUE(dst.memory == expected.memory);
        }
}

// Calls one layer from several threads, with more shapes than the layer keeps plans for.
TEST(Layer, IsSharedByThreads) {
  constexpr int callers = 4, shapes = 20;
  Random random(40);
  const std::vector<float> weights = small_integers<float>(24 * 19, random);
  const View weights_view(weights.data(), pointwise::DType::f32, {24, 19});
  const Layer layer(weights_view, nullptr, Options());
  std::vector<std::vector<float>> src, expected;
  for (int i = 0; i < shapes; ++i) {
    const Shape shape{1, 19, 1 + i, 7};
    src.push_back(small_integers<float>(elements(shape), random));
    expected.emplace_back(static_cast<size_t>(24 * (1 + i) * 7));
    reference(weights_view, nullptr, Options(), View(src[i].data(), pointwise::DType::f32, shape),
              View(expected[i].data(), pointwise::DType::f32, {1, 24, 1 + i, 7}), nullptr);
  }
  std::array<int, callers> wrong{};
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller)
    threads.emplace_back([&, caller] {
      for (int turn = 0; turn < 10 * shapes; ++turn) {
        const int i = (turn + caller * 7) % shapes;
        std::vector<float> dst(expected[i].size());
        layer(View(src[i].data(), pointwise::DType::f32, {1, 19, 1 + i, 7}),
              View(dst.data(), pointwise::DType::f32, {1, 24, 1 + i, 7}), nullptr, 1 + turn % 2);
        wrong[caller] += !same_bits(dst, expected[i]);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const int count : wrong) EXPECT_EQ(count, 0);
}

TEST(Layer, ExplainsItsChoice) {
  const std::vector<float> weights(64 * 32);
  Options options;
  options.padding = {1};
  const Layer layer(View(weights.data(), pointwise::DType::f32, {64, 32}), nullptr, options);
  const std::string text = layer.explain({1, 32, 14, 14});
  const std::string words[] = {"isa " + pointwise::isa(), "kernel gemm_f32_", "_" + pointwise::isa(),
                               "not gemm_f32_",           "padding:",         "32 -> 64"};
  for (const std::string& word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " is not in\n" << text;
  EXPECT_NE(layer.explain({0, 32, 14, 14}).find("empty result"), std::string::npos);
}

}  // namespace
}  // namespace pointwise_tests
