// Tests the integer kernels of the selected instruction set, and QuantizedLayer.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "guarded.h"
#include "kernels/registry.h"
#include "memory/aligned.h"
#include "numbers.h"

namespace pointwise_tests {
namespace {

using pointwise::Block;
using pointwise::DType;
using pointwise::IntegerKernels;
using pointwise::KernelRow;
using pointwise::Options;
using pointwise::Quantization;
using pointwise::QuantizedLayer;
using pointwise::Rows;
using pointwise::Shape;
using pointwise::Step;
using pointwise::View;

const IntegerKernels& kernels() { return *pointwise::selected_isa().integers; }

// A block of random bytes or words, which covers the whole range, so that sums wrap around.
struct Case {
  static constexpr int width = pointwise::panel_width<int32_t>();
  Step step;
  int64_t pixels, channels, steps;
  std::vector<int> x, weights;  // [pixel][input channel], [channel][input channel]
  std::vector<int32_t> bias;
  pointwise::AlignedBytes panels, padded_bias;
  Block block{};

  Case(Step kind, int64_t p, int64_t c, int64_t s, Random& random) : step(kind), pixels(p), channels(c), steps(s) {
    const bool bytes = step == Step::bytes;
    const int64_t inputs = s * in_step();
    for (int64_t i = 0; i < p * inputs; ++i)
      x.push_back(static_cast<int>(bytes ? random.integer(0, 255) : random.integer(-255, 255)));
    for (int64_t i = 0; i < c * inputs; ++i)
      weights.push_back(static_cast<int>(bytes ? random.integer(-128, 127) : random.integer(-255, 255)));
    constexpr int64_t least = std::numeric_limits<int32_t>::min(), most = std::numeric_limits<int32_t>::max();
    for (int64_t i = 0; i < c; ++i) bias.push_back(static_cast<int32_t>(random.integer(least, most)));
    const int64_t count = (c + width - 1) / width;
    panels = pointwise::allocate_aligned(count * (s + 1) * 64);
    padded_bias = pointwise::allocate_aligned(count * 64);
    std::memset(panels.get(), 0, static_cast<size_t>(count * (s + 1) * 64));
    std::memset(padded_bias.get(), 0, static_cast<size_t>(count * 64));
    std::memcpy(padded_bias.get(), bias.data(), bias.size() * 4);
    for (int64_t o = 0; o < c; ++o)
      for (int64_t i = 0; i < inputs; ++i)
        store(panels.get() + o / width * s * 64 + i / in_step() * 64 + o % width * 4, i, weights[at(o, i)]);
    block.pixels = p;
    block.channels = c;
    block.input_channels = s;
    block.weights = panels.get();
    block.panel = s * 64;
    block.bias = padded_bias.get();
    block.epilogue.floor = pointwise::Number::of(std::numeric_limits<int32_t>::min());
  }

  int64_t in_step() const { return pointwise::channels_of(step); }
  size_t at(int64_t row, int64_t input) const { return static_cast<size_t>(row * steps * in_step() + input); }

  // Stores input channel i in its step, which begins at `to`.
  void store(char* to, int64_t i, int number) const {
    const int16_t word = static_cast<int16_t>(number);
    if (step == Step::bytes)
      to[i % 4] = static_cast<char>(number);
    else
      std::memcpy(to + i % 2 * 2, &word, 2);
  }

  // Stores x at `to`, in the order that a kernel row reads.
  void set_x(char* to, Rows rows) {
    block.x = to;
    block.x_pixel = rows == Rows::channels ? 4 : steps * 4;
    block.x_channel = rows == Rows::channels ? pixels * 4 : 4;
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t i = 0; i < steps * in_step(); ++i)
        store(to + p * block.x_pixel + i / in_step() * block.x_channel, i, x[at(p, i)]);
  }

  int32_t expected(int64_t p, int64_t c) const {
    uint32_t sum = static_cast<uint32_t>(bias[static_cast<size_t>(c)]);
    for (int64_t i = 0; i < steps * in_step(); ++i) sum += static_cast<uint32_t>(x[at(p, i)] * weights[at(c, i)]);
    return static_cast<int32_t>(sum);
  }
};

// The placement of results: channels contiguous, pixels contiguous, or pixels at uneven offsets.
enum class Results { pixels_first, channels_first, uneven };

void check(const KernelRow& row, Step step, int64_t pixels, int64_t channels, int64_t steps, Results results,
           Random& random) {
  SCOPED_TRACE(std::string(row.name) + ", " + std::to_string(pixels) + " pixels, " + std::to_string(channels) +
               " channels, " + std::to_string(steps) + " steps, results " + std::to_string(static_cast<int>(results)));
  Case k(step, pixels, channels, steps, random);
  const size_t x_bytes = static_cast<size_t>(pixels * steps * 4), y_bytes = static_cast<size_t>(pixels * channels * 8);
  static GuardedMemory x{1 << 20}, y{1 << 20};
  k.set_x(x.at_end(x_bytes), row.rows);
  std::vector<ptrdiff_t> offsets;
  ptrdiff_t pixel = channels * 4, channel = 4;
  if (results == Results::channels_first) pixel = 4, channel = pixels * 4;
  if (results == Results::uneven) {
    pixel = 0;
    for (int64_t p = 0; p < pixels; ++p) offsets.push_back((pixels - 1 - p) * channels * 8 + p % 2 * 4);
    k.block.y_offsets = offsets.data();
    channel = 4;
  }
  k.block.y = y.at_end(results == Results::uneven ? y_bytes + 4 : y_bytes / 2);
  k.block.y_pixel = pixel;
  k.block.y_channel = channel;
  const auto result = [&](int64_t p, int64_t c) {
    int32_t number;
    const ptrdiff_t at = offsets.empty() ? p * pixel : offsets[static_cast<size_t>(p)];
    std::memcpy(&number, k.block.y + at + c * channel, 4);
    return number;
  };
  std::memset(k.block.y, 0x5a, results == Results::uneven ? y_bytes + 4 : y_bytes / 2);
  row.run(k.block);
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < channels; ++c) ASSERT_EQ(result(p, c), k.expected(p, c)) << p << ", " << c;
}

TEST(IntegerKernels, SumsAreExactModulo32Bits) {
  Random random(1);
  for (const Step step : {Step::bytes, Step::words})
    for (const KernelRow* row : {&kernels().of(step).channels, &kernels().of(step).pixels}) {
      if (row->run == nullptr) continue;
      for (const int64_t pixels : {1, 2, 5, 15, 16, 17, 33, 48, 50, 97})
        for (const int64_t channels : {1, 7, 16, 17, 40})
          for (const Results results : {Results::pixels_first, Results::channels_first, Results::uneven})
            check(*row, step, pixels, channels, 1 + (pixels + channels) % 5, results, random);
      for (const int64_t steps : {0, 255, 256, 257, 600})
        check(*row, step, 13, 18, steps, Results::pixels_first, random);
    }
}

TEST(IntegerKernels, SumsContinue) {
  Random random(2);
  for (const Step step : {Step::bytes, Step::words})
    for (const KernelRow* row : {&kernels().of(step).channels, &kernels().of(step).pixels}) {
      if (row->run == nullptr) continue;
      SCOPED_TRACE(row->name);
      const bool channel_rows = row->rows == Rows::channels;
      constexpr int64_t pixels = 37, channels = 21, steps = 270, first = 256;
      Case k(step, pixels, channels, steps, random);
      std::vector<char> x(static_cast<size_t>(pixels * steps * 4));
      k.set_x(x.data(), row->rows);
      // Rows of sums are whole tiles.
      const ptrdiff_t sums_row = 128 * 4;
      const pointwise::AlignedBytes sums = pointwise::allocate_aligned(128 * sums_row);
      std::memset(sums.get(), 0, 128 * sums_row);
      k.block.y = sums.get();
      k.block.y_pixel = channel_rows ? 4 : sums_row;
      k.block.y_channel = channel_rows ? sums_row : 4;
      k.block.input_channels = first;
      row->run(k.block);
      std::vector<int32_t> y(static_cast<size_t>(pixels * channels));
      k.block.sums = sums.get();
      k.block.sums_row = sums_row;
      k.block.x += first * k.block.x_channel;
      k.block.weights += first * 64;
      k.block.input_channels = steps - first;
      k.block.y = reinterpret_cast<char*>(y.data());
      k.block.y_pixel = channels * 4;
      k.block.y_channel = 4;
      row->run(k.block);
      for (int64_t p = 0; p < pixels; ++p)
        for (int64_t c = 0; c < channels; ++c)
          ASSERT_EQ(y[static_cast<size_t>(p * channels + c)], k.expected(p, c)) << p << ", " << c;
    }
}

TEST(IntegerKernels, RequantizationRoundsHalfToEven) {
  Random random(3);
  GuardedMemory memory(4096);
  for (const pointwise::Rounding rounding :
       {pointwise::Rounding{0, 255, 0, false}, {-128, 127, 0, true}, {-100, 27, 100, false}, {5, 6, -7, true}})
    for (int64_t count = 0; count < 140; ++count)
      for (const bool by_row : {true, false}) {
        constexpr int64_t rows = 3, row = 160;
        std::vector<int32_t> sums(rows * row);
        std::vector<float> factors(row);
        for (int32_t& sum : sums) sum = static_cast<int32_t>(random.integer(-1000, 1000));
        sums[0] = std::numeric_limits<int32_t>::min();
        sums[1] = std::numeric_limits<int32_t>::max();
        for (float& factor : factors)
          factor = random.one_in(2) ? 0.5f : std::ldexp(static_cast<float>(random.real() + 1), -3);
        const auto size = static_cast<size_t>(rows * count);
        char* const to = memory.at_end(size);
        kernels().requantize(
            {reinterpret_cast<const char*>(sums.data()), row * 4, rows, count, factors.data(), by_row, to, count},
            rounding);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t i = 0; i < count; ++i) {
            const float factor = factors[static_cast<size_t>(by_row ? r : i)];
            const float product = static_cast<float>(sums[static_cast<size_t>(r * row + i)]) * factor;
            const float clipped = std::min(std::max(product, rounding.low), rounding.high);
            const int expected = static_cast<int>(std::nearbyint(clipped)) + rounding.zero;
            ASSERT_EQ(to[r * count + i], static_cast<char>(expected)) << r << ", " << i << " of " << count;
          }
      }
}

TEST(IntegerKernels, NamesSayWhatTheyAre) {
  // Several instruction sets may share kernels, which have the name of the last of these instruction sets.
  const auto owner = [](const pointwise::IntegerKernels* integers) {
    const char* name = "";
    for (const pointwise::Isa& isa : pointwise::all_isas())
      if (isa.integers == integers) name = isa.name;
    return std::string(name);
  };
  for (const pointwise::Isa& isa : pointwise::all_isas())
    for (const Step step : {Step::bytes, Step::words})
      for (const KernelRow* row : {&isa.integers->of(step).channels, &isa.integers->of(step).pixels}) {
        if (row->run == nullptr) continue;
        EXPECT_EQ(std::string(row->name), std::string("gemm_") + (step == Step::bytes ? "bytes" : "words") + "_" +
                                              std::to_string(row->mr) + "x" + std::to_string(row->nr * row->lanes) +
                                              "_" + (row->rows == Rows::channels ? "channels" : "pixels") + "_" +
                                              owner(isa.integers));
      }
}

TEST(Quantized, ComputesTheFormula) {
  const std::vector<uint8_t> src{0, 10, 200, 255};  // two pixels of two channels
  const std::vector<int8_t> weights{1, 2, -128, 127, 0, 5};
  const std::vector<int32_t> bias{0, 100, -7};
  Quantization q;
  q.src_zero = 10;
  q.src_scale = 0.5f;
  q.weight_scales = {1, 0.25f, 2};
  q.weight_zeros = {0, 1, 0};
  q.dst = DType::i8;
  q.dst_scale = 16;
  q.dst_zero = -3;
  Options options;
  options.layout = "NC";
  const View bias_seen(bias.data(), DType::i32, {3});
  const View weights_seen(weights.data(), DType::i8, {3, 2});
  const QuantizedLayer layer(weights_seen, &bias_seen, options, q);
  EXPECT_EQ(layer.c_in(), 2);
  EXPECT_EQ(layer.c_out(), 3);
  std::vector<int8_t> dst(6);
  layer(View(src.data(), DType::u8, {2, 2}), View(dst.data(), DType::i8, {2, 3}));
  for (int p = 0; p < 2; ++p)
    for (int o = 0; o < 3; ++o) {
      int sum = bias[static_cast<size_t>(o)];
      for (int i = 0; i < 2; ++i)
        sum += (weights[static_cast<size_t>(o * 2 + i)] - q.weight_zeros[static_cast<size_t>(o)]) *
               (src[static_cast<size_t>(p * 2 + i)] - q.src_zero);
      const float factor = q.src_scale * q.weight_scales[static_cast<size_t>(o)] / q.dst_scale;
      const float rounded = std::nearbyint(static_cast<float>(sum) * factor) - 3;
      EXPECT_EQ(dst[static_cast<size_t>(p * 3 + o)], std::min(std::max(rounded, -128.0f), 127.0f)) << p << ", " << o;
    }
}

TEST(Quantized, RefusesWrongArguments) {
  const std::vector<int8_t> numbers(8);
  const View weights(numbers.data(), DType::i8, {2, 4});
  const auto refused = [&](const Quantization& q, pointwise::Argument argument) {
    try {
      const QuantizedLayer layer(weights, nullptr, Options(), q);
      return false;
    } catch (const pointwise::Error& error) {
      return error.argument() == argument;
    }
  };
  const auto with = [](const auto& change) {
    Quantization q;
    change(&q);
    return q;
  };
  using pointwise::Argument;
  EXPECT_TRUE(refused(with([](Quantization* q) { q->src = DType::f32; }), Argument::src));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->dst = DType::u16; }), Argument::dst));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->src_zero = 256; }), Argument::src_zero));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->dst_zero = -1; }), Argument::dst_zero));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->weight_zeros = {128}; }), Argument::weight_zeros));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->weight_zeros = {1, 2, 3}; }), Argument::weight_zeros));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->weight_scales = {}; }), Argument::weight_scales));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->weight_scales = {1, -1}; }), Argument::weight_scales));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->src_scale = 0; }), Argument::src_scale));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->dst_scale = std::nanf(""); }), Argument::dst_scale));
  EXPECT_TRUE(refused(with([](Quantization* q) { q->src_scale = 1e30f, q->dst_scale = 1e-30f; }), Argument::dst_scale));
  const QuantizedLayer layer(weights, nullptr, Options(), Quantization());
  std::vector<uint8_t> bytes(64);
  const View src(bytes.data(), DType::u8, {1, 4, 2, 2}), dst(bytes.data() + 16, DType::u8, {1, 2, 2, 2});
  EXPECT_NO_THROW(layer(src, dst));
  EXPECT_THROW(layer(View(bytes.data(), DType::i8, {1, 4, 2, 2}), dst), pointwise::Error);
  EXPECT_THROW(layer(src, View(bytes.data(), DType::u8, {1, 2, 2, 1})), pointwise::Error);
}

}  // namespace
}  // namespace pointwise_tests
