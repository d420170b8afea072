// Tests the conversion of results: single numbers, and layers with integer src and dst.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/numbers.h"
#include "convolution/reference.h"
#include "kernels/registry.h"
#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::Layer;

template <class Y>
class Conversion : public testing::Test {};
using Integers = testing::Types<uint8_t, int8_t, uint16_t, int16_t>;
TYPED_TEST_SUITE(Conversion, Integers, );

// Returns numbers near k and k + 1/2 for some integers k, numbers near both ends of the range, and numbers far out of
// range.
template <class Y>
std::vector<float> numbers_that_need_care() {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> numbers{-infinity, infinity, std::nanf(""), -0.0f, 3e38f, -3e38f, 1e-40f, 2147483648.0f};
  const int near[] = {std::numeric_limits<Y>::lowest(), -1, 0, 1, 2, 100, std::numeric_limits<Y>::max()};
  for (const int number : near)
    for (const float half : {-1.0f, -0.5f, 0.0f, 0.5f, 1.0f}) {
      const float center = static_cast<float>(number) + half;
      numbers.insert(numbers.end(), {std::nextafter(center, -infinity), center, std::nextafter(center, infinity)});
    }
  return numbers;
}

TYPED_TEST(Conversion, RoundsAndSaturates) {
  using Y = TypeParam;
  constexpr auto y = dtype_of<Y>();
  const pointwise::Convert convert = pointwise::kernels(pointwise::DType::f32).convert[y];
  std::vector<float> numbers = numbers_that_need_care<Y>();
  for (int64_t count = 0; count <= static_cast<int64_t>(numbers.size()); ++count)
    for (const int step : {1, 2, 5, -3}) {
      const size_t reach = static_cast<size_t>(std::abs(step) * std::max<int64_t>(count, 1));
      std::vector<Y> got(reach + 2, Y{77}), want = got;
      const size_t first = step > 0 ? 1 : reach;
      convert(reinterpret_cast<const char*>(numbers.data()), count, reinterpret_cast<char*>(&got[first]),
              step * static_cast<ptrdiff_t>(sizeof(Y)));
      for (int64_t i = 0; i < count; ++i)
        pointwise::write_number(y, &want[static_cast<size_t>(static_cast<int64_t>(first) + i * step)],
                                static_cast<double>(numbers[static_cast<size_t>(i)]));
      ASSERT_EQ(got, want) << count << " numbers, step " << step;
    }
}

TEST(WriteNumber, RoundsHalfToEvenAndSaturates) {
  const auto written = [](double number) {
    uint8_t byte;
    pointwise::write_number(pointwise::DType::u8, &byte, number);
    return int{byte};
  };
  EXPECT_EQ(written(0.5), 0);
  EXPECT_EQ(written(1.5), 2);
  EXPECT_EQ(written(254.5), 254);
  EXPECT_EQ(written(255.4), 255);
  EXPECT_EQ(written(1e300), 255);
  EXPECT_EQ(written(-3), 0);
  EXPECT_EQ(written(std::nan("")), 0);
}

TYPED_TEST(Conversion, LayersAgreeWithTheReference) {
  using Y = TypeParam;
  Random random(static_cast<uint32_t>(dtype_of<Y>()));
  for (int round = 0; round < 200; ++round) {
    Problem p = random_problem(random, pointwise::DType::f32);
    p.residual = false;
    SCOPED_TRACE("round " + std::to_string(round) + ": " + p.text());
    const auto number = [&] { return small_integer<float>(random) / 2; };
    const Array<float> weights = make_array<float>({p.c_out, p.inputs}, random_lies(random, true), random, number);
    const Array<float> bias = make_array<float>({p.c_out}, random_lies(random, true), random, number);
    const Array<float> scale = make_array<float>(p.scales(), random_lies(random, true), random, number);
    const Array<Y> src =
        make_array<Y>(p.src, random_lies(random, true), random, [&] { return static_cast<Y>(random.integer(0, 100)); });
    if (random.one_in(2)) p.options.dst_dtype = dtype_of<Y>();
    const Layer layer(weights.view, p.bias ? &bias.view : nullptr, p.options);
    Array<Y> got = make_array<Y>(layer.output_shape(p.src), random_lies(random, false), random,
                                 [&] { return static_cast<Y>(random.integer(0, 100)); });
    Array<Y> want = got;
    const View* scales = p.scaled ? &scale.view : nullptr;
    reference(weights.view, p.bias ? &bias.view : nullptr, p.options, src.view, want.view, nullptr, nullptr, scales);
    layer(src.view, got.view, nullptr, p.threads, scales);
    ASSERT_TRUE(got.memory == want.memory);
  }
}

// Returns the message of the Error that `call` throws.
template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const pointwise::Error& error) {
    return error.what();
  }
  return "";
}

TEST(ResultDtypes, AreValidated) {
  using pointwise::DType;
  const float weight[1] = {1};
  const float number[1] = {2};
  uint8_t byte[1] = {2};
  const View weights(weight, DType::f32, {1, 1});
  const View floats(number, DType::f32, {1, 1}), bytes(byte, DType::u8, {1, 1}), words(byte, DType::i8, {1, 1});
  Options options;
  options.layout = "NC";
  const Layer any(weights, nullptr, options);
  options.dst_dtype = DType::u8;
  const Layer integers(weights, nullptr, options);
  EXPECT_EQ(message_of([&] { integers(floats, bytes); }),
            "src must have an integer dtype for results of dtype uint8, got float32");
  EXPECT_EQ(message_of([&] { integers(bytes, words); }), "dst must have dtype uint8, got int8");
  EXPECT_EQ(message_of([&] { any(floats, bytes); }), "dst must have dtype float32, got uint8");
  EXPECT_EQ(message_of([&] { any(bytes, words, &floats); }),
            "residual must not be given for integer results, got an array");
  options.dtype = DType::f64;
  const double wide[1] = {1};
  EXPECT_EQ(message_of([&] { Layer(View(wide, DType::f64, {1, 1}), nullptr, options); }),
            "dst_dtype must be float64, got uint8");
  options.dtype = DType::f32;
  options.dst_dtype = DType::f64;
  EXPECT_EQ(message_of([&] { Layer(weights, nullptr, options); }),
            "dst_dtype must be float32, float16, bfloat16 or an integer dtype, got float64");
}

}  // namespace
}  // namespace pointwise_tests
