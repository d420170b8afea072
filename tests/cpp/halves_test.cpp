// Tests 16-bit floating-point arrays: packing and conversion of single numbers, and layers. Arrays of 16-bit numbers
// are arrays of uint16_t whose view has another dtype.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/float_environment.h"
#include "base/numbers.h"
#include "convolution/reference.h"
#include "kernels/registry.h"
#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::DType;
using pointwise::Layer;

constexpr DType halves[] = {DType::f16, DType::bf16};

uint16_t bits_of(DType dtype, double number) {
  uint16_t bits;
  pointwise::write_number(dtype, &bits, number);
  return bits;
}

double number_of(DType dtype, uint16_t bits) { return pointwise::read_number(dtype, &bits); }

// The formats are those of IEEE 754-2019 (binary16) and of bfloat16: sign, 5 or 8 bits of exponent, 10 or 7 bits.
TEST(Halves, NumbersAreReadAndWritten) {
  EXPECT_EQ(number_of(DType::f16, 0x3c00), 1);
  EXPECT_EQ(number_of(DType::f16, 0xc500), -5);
  EXPECT_EQ(number_of(DType::f16, 0x7bff), 65504);
  EXPECT_EQ(number_of(DType::f16, 0x0001), 0x1p-24);
  EXPECT_EQ(number_of(DType::f16, 0x7c00), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(number_of(DType::f16, 0xfe00)));
  EXPECT_EQ(number_of(DType::bf16, 0x3f80), 1);
  EXPECT_EQ(number_of(DType::bf16, 0xc0a0), -5);
  EXPECT_EQ(number_of(DType::bf16, 0x0001), 0x1p-133);
  EXPECT_EQ(bits_of(DType::f16, 65519.99), 0x7bff);
  EXPECT_EQ(bits_of(DType::f16, 65520), 0x7c00);
  EXPECT_EQ(bits_of(DType::f16, 0x1p-25), 0x0000) << "half of the smallest number, to even";
  EXPECT_EQ(bits_of(DType::f16, 0x1.8p-24), 0x0002) << "to even";
  EXPECT_EQ(bits_of(DType::bf16, 1 + 0x1p-8), 0x3f80) << "to even";
  EXPECT_EQ(bits_of(DType::bf16, 1 + 0x1.8p-7), 0x3f82) << "to even";
  EXPECT_EQ(bits_of(DType::bf16, -0.0), 0x8000);
  for (const DType dtype : halves)
    for (int bits = 0; bits < 0x10000; ++bits) {
      const double number = number_of(dtype, static_cast<uint16_t>(bits));
      if (!std::isnan(number)) {
        ASSERT_EQ(bits_of(dtype, number), bits) << number;
      }
    }
}

// Packs every number of a dtype, and checks that it is the same number in float32.
TEST(Halves, EveryNumberIsPacked) {
  const pointwise::KernelTable& table = pointwise::kernels(DType::f32);
  std::vector<uint16_t> numbers(0x10000);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<uint16_t>(i);
  std::vector<float> packed(numbers.size() + 1);
  for (const bool flush : {false, true}) {
    const pointwise::FloatEnvironment environment(flush);
    for (const DType dtype : halves)
      for (const size_t count : {size_t{1}, size_t{7}, size_t{16}, size_t{37}, numbers.size()}) {
        packed[count] = 77;
        table.pack[dtype].run(reinterpret_cast<const char*>(numbers.data()), static_cast<int64_t>(count),
                              reinterpret_cast<char*>(packed.data()));
        for (size_t i = 0; i < count; ++i) {
          uint32_t got, want;
          const float number = static_cast<float>(number_of(dtype, numbers[i]));
          std::memcpy(&got, &packed[i], sizeof(got));
          std::memcpy(&want, &number, sizeof(want));
          if (std::isnan(number)) {
            ASSERT_GT(got & 0x7fffffff, 0x7f800000u) << i;
          } else if (dtype == DType::f16 || !flush) {
            ASSERT_EQ(got, want) << i;
          } else {  // in the flush mode, a subnormal number of bfloat16 may become zero
            ASSERT_TRUE(got == want || (want & 0x7f800000) == 0) << i;
          }
        }
        ASSERT_EQ(packed[count], 77);
      }
  }
}

// Converts numbers near the numbers of the dtype, and numbers near the middle of two of them.
TEST(Halves, ResultsAreRoundedHalfToEven) {
  const pointwise::KernelTable& table = pointwise::kernels(DType::f32);
  for (const DType dtype : halves) {
    std::vector<float> numbers{std::numeric_limits<float>::infinity(), std::nanf(""), -0.0f, 3.4e38f, 1e-45f, -1e-40f};
    for (int bits = 1; bits < 0x7c00; bits += bits < 0x900 ? 1 : 13) {
      const float a = static_cast<float>(number_of(dtype, static_cast<uint16_t>(bits))),
                  b = static_cast<float>(number_of(dtype, static_cast<uint16_t>(bits + 1))), half = a / 2 + b / 2;
      for (const float center : {a, half})
        for (const float number : {std::nextafter(center, 0.0f), center, std::nextafter(center, 1e38f)})
          numbers.push_back(bits % 2 ? number : -number);
    }
    const auto count = static_cast<int64_t>(numbers.size());
    for (const int step : {1, 3}) {
      std::vector<uint16_t> got(numbers.size() * 3, 77);
      table.convert[dtype](reinterpret_cast<const char*>(numbers.data()), count, reinterpret_cast<char*>(got.data()),
                           step * 2);
      for (int64_t i = 0; i < count; ++i) {
        const float number = numbers[static_cast<size_t>(i)];
        const uint16_t bits = got[static_cast<size_t>(i * step)];
        if (std::isnan(number)) {
          ASSERT_TRUE(std::isnan(number_of(dtype, bits)));
        } else {
          ASSERT_EQ(bits, bits_of(dtype, static_cast<double>(number))) << number;
        }
      }
      if (step > 1) {
        ASSERT_EQ(got[1], 77);
      }
    }
  }
}

TEST(Halves, LayersAgreeWithTheReference) {
  Random random(16);
  for (int round = 0; round < 400; ++round) {
    const DType dtype = halves[round % 2];
    Problem p = random_problem(random, dtype);
    SCOPED_TRACE("round " + std::to_string(round) + ": " + p.text());
    const DType results[] = {dtype, DType::f16, DType::bf16};
    const DType result = results[random.integer(0, 2)];
    if (result != dtype || random.one_in(2)) p.options.dst_dtype = result;
    const auto make = [&](DType of, const Shape& shape, const Lies& lies, int most) {
      Array<uint16_t> array = make_array<uint16_t>(
          shape, lies, random, [&] { return bits_of(of, static_cast<double>(random.integer(-most, most))); });
      array.view.dtype = of;
      return array;
    };
    const Array<uint16_t> weights = make(dtype, {p.c_out, p.inputs}, random_lies(random, true), 3);
    const Array<float> bias =
        make_array<float>({p.c_out}, random_lies(random, true), random, [&] { return small_integer<float>(random); });
    const Array<uint16_t> scale = make(dtype, p.scales(), random_lies(random, true), 3);
    const Array<uint16_t> src = make(dtype, p.src, random_lies(random, true), 3);
    const Layer layer(weights.view, p.bias ? &bias.view : nullptr, p.options);
    Array<uint16_t> got = make(result, layer.output_shape(p.src), random_lies(random, false), 3);
    const Array<uint16_t> added = make(result, got.view.shape, random_lies(random, true), 3);
    Array<uint16_t> want = got;
    const View* scales = p.scaled ? &scale.view : nullptr;
    const View* residual = p.residual ? &added.view : nullptr;
    reference(weights.view, p.bias ? &bias.view : nullptr, p.options, src.view, want.view, residual, nullptr, scales);
    layer(src.view, got.view, residual, p.threads, scales);
    ASSERT_TRUE(got.memory == want.memory);
    Layer::borrowing(weights.view, p.bias ? &bias.view : nullptr, p.options)(src.view, got.view, residual, p.threads,
                                                                             scales);
    ASSERT_TRUE(got.memory == want.memory) << "borrowed weights";
    std::vector<uint16_t> copy(static_cast<size_t>(p.c_out * p.inputs));
    layer.copy_weights(copy.data());
    for (size_t i = 0; i < copy.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / p.inputs, column = static_cast<int64_t>(i) % p.inputs;
      uint16_t given;
      std::memcpy(&given,
                  static_cast<const char*>(weights.view.data) + row * weights.view.strides[0] +
                      column * weights.view.strides[1],
                  sizeof(given));
      ASSERT_EQ(copy[i], given);
    }
  }
}

// 2^-25 is lost if it is added to -1, but not if it is added to 0.
TEST(Halves, SumsOfBFloat16TakeTheOddChannelFirst) {
  if (pointwise::isa() == "portable") GTEST_SKIP() << "the portable kernels keep the bound, not the bits";
  const uint16_t one = bits_of(DType::bf16, 1), small = bits_of(DType::bf16, 0x1p-25);
  const uint16_t weights[2] = {one, one};
  const float bias[1] = {-1};
  const View bias_view(bias, DType::f32, {1});
  Options options;
  options.layout = "C";
  options.dtype = DType::bf16;
  options.dst_dtype = DType::f32;
  const Layer layer(View(weights, DType::bf16, {1, 2}), &bias_view, options);
  const auto sum = [&](uint16_t even, uint16_t odd) {
    const uint16_t src[2] = {even, odd};
    float dst[1];
    layer(View(src, DType::bf16, {2}), View(dst, DType::f32, {1}));
    return dst[0];
  };
  EXPECT_EQ(sum(small, one), 0x1p-25f) << "-1 + 1 = 0, 0 + 2^-25 = 2^-25";
  EXPECT_EQ(sum(one, small), 0) << "-1 + 2^-25 = -1, -1 + 1 = 0";
}

}  // namespace
}  // namespace pointwise_tests
