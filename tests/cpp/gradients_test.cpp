// Tests gradients on random convolutions and views. Let y be the result without a bias. The adjoint identity says that
// dot(y, grad) = dot(src, gradient of src) = dot(weights, gradient of weights). Sums of small integers are exact.
#include "convolution/gradients.h"

#include <gtest/gtest.h>

#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::DType;
using pointwise::Error;
using pointwise::Layer;

template <class T>
double dot(const Array<T>& a, const Array<T>& b) {
  const std::vector<T> left = a.values(), right = b.values();
  double sum = 0;
  for (size_t i = 0; i < left.size(); ++i) sum += static_cast<double>(left[i]) * static_cast<double>(right[i]);
  return sum;
}

template <class T>
class Gradients : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Gradients, Types);

TYPED_TEST(Gradients, AreTheAdjointOfTheConvolution) {
  using T = TypeParam;
  Random random(17);
  for (int round = 0; round < 400; ++round) {
    Problem p = random_problem(random, dtype_of<T>());
    p.options.activation = {};
    SCOPED_TRACE(p.text());
    const auto number = [&] { return small_integer<T>(random); };
    const auto make = [&](const Shape& shape, bool read_only) {
      return make_array<T>(shape, random_lies(random, read_only), random, number);
    };
    const Array<T> weights = make({p.c_out, p.inputs}, true), src = make(p.src, true);
    const Layer layer(weights.view, nullptr, p.options);
    const Shape shape = layer.output_shape(p.src);
    const Array<T> grad = make(shape, true);
    Array<T> dst = make(shape, false), dx = make(p.src, false), dw = make({p.c_out, p.inputs}, false);
    layer(src.view, dst.view, nullptr, p.threads);
    pointwise::gradient_of_src(grad.view, weights.view, dx.view, p.options, false, p.threads);
    pointwise::gradient_of_weights(grad.view, src.view, dw.view, p.options, false, p.threads);
    const double expected = dot(dst, grad);
    EXPECT_EQ(dot(src, dx), expected);
    EXPECT_EQ(dot(weights, dw), expected);

    // Other views give the same numbers, and accumulation adds them to dst.
    Array<T> dx_again = make(p.src, false), dw_again = make({p.c_out, p.inputs}, false);
    const std::vector<T> dx_before = dx_again.values(), dw_before = dw_again.values();
    pointwise::gradient_of_src(grad.view, weights.view, dx_again.view, p.options, true, 1);
    pointwise::gradient_of_weights(grad.view, src.view, dw_again.view, p.options, true, 1);
    const std::vector<T> dx_sum = dx_again.values(), dw_sum = dw_again.values();
    const std::vector<T> dx_alone = dx.values(), dw_alone = dw.values();
    for (size_t i = 0; i < dx_sum.size(); ++i) ASSERT_EQ(dx_sum[i], dx_before[i] + dx_alone[i]);
    for (size_t i = 0; i < dw_sum.size(); ++i) ASSERT_EQ(dw_sum[i], dw_before[i] + dw_alone[i]);
  }
}

TYPED_TEST(Gradients, WriteNothingBetweenTheElements) {
  using T = TypeParam;
  Random random(18);
  for (int round = 0; round < 200; ++round) {
    Problem p = random_problem(random, dtype_of<T>());
    p.options.activation = {};
    SCOPED_TRACE(p.text());
    const auto number = [&] { return small_integer<T>(random); };
    const Array<T> weights = make_array<T>({p.c_out, p.inputs}, {}, random, number);
    const Shape shape = Layer(weights.view, nullptr, p.options).output_shape(p.src);
    const Array<T> grad = make_array<T>(shape, {}, random, number);
    Array<T> dx = make_array<T>(p.src, {false, true, true, true, false}, random, number);
    Array<T> plain = make_array<T>(p.src, {}, random, number), expected = dx;
    pointwise::gradient_of_src(grad.view, weights.view, dx.view, p.options);
    pointwise::gradient_of_src(grad.view, weights.view, plain.view, p.options);
    std::array<int64_t, pointwise::max_rank> index{};
    for (const T& value : plain.values()) {
      std::memcpy(expected.at(index), &value, sizeof(T));
      for (int i = p.src.rank - 1; i >= 0 && ++index[i] == p.src[i]; --i) index[i] = 0;
    }
    EXPECT_EQ(dx.memory, expected.memory);
  }
}

TEST(GradientErrors, NameTheArgument) {
  std::vector<float> numbers(1000, 1.0f);
  const auto view = [&](const Shape& shape, DType dtype = DType::f32) { return View(numbers.data(), dtype, shape); };
  const auto fails = [](pointwise::Argument argument, const auto& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.argument(), argument) << error.what();
      return;
    }
    ADD_FAILURE() << "no error";
  };
  const Options options;
  const Shape src{1, 6, 2, 3}, grad{1, 4, 2, 3}, weights{4, 6};
  fails(pointwise::Argument::grad,
        [&] { pointwise::gradient_of_src(view({1, 4, 3, 2}), view(weights), view(src), options); });
  fails(pointwise::Argument::src, [&] { pointwise::gradient_of_src(view(grad), view({4, 5}), view(src), options); });
  fails(pointwise::Argument::weights,
        [&] { pointwise::gradient_of_src(view(grad), view(weights, DType::f64), view(src), options); });
  fails(pointwise::Argument::dst,
        [&] { pointwise::gradient_of_src(view(grad), view(weights), view(src, DType::f64), options); });
  fails(pointwise::Argument::dst,
        [&] { pointwise::gradient_of_weights(view(grad), view(src), view({6, 4}), options); });
  fails(pointwise::Argument::src,
        [&] { pointwise::gradient_of_weights(view(grad), view(src, DType::f64), view(weights), options); });
  fails(pointwise::Argument::grad,
        [&] { pointwise::gradient_of_weights(view(grad, DType::u8), view(src), view(weights), options); });
  Options groups;
  groups.groups = 4;
  fails(pointwise::Argument::groups,
        [&] { pointwise::gradient_of_weights(view(grad), view(src), view({4, 1}), groups); });
  EXPECT_EQ(numbers, std::vector<float>(1000, 1.0f));
}

}  // namespace
}  // namespace pointwise_tests
