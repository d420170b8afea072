// Tests sizes near the limits of int64. Views that repeat an element can have such sizes without memory. Under UBSan, a
// sum or product that overflows ends the process.
#include <gtest/gtest.h>

#include <functional>

#include "kernels/registry.h"
#include "problem.h"
#include "product/blocking.h"
#include "product/driver.h"
#include "product/plan.h"

namespace pointwise_tests {
namespace {

using pointwise::Argument;
using pointwise::Chain;
using pointwise::DType;
using pointwise::Layer;
using pointwise::Parts;

constexpr int64_t most = std::numeric_limits<int64_t>::max();
constexpr int64_t edges[] = {(int64_t{1} << 31) - 1,
                             int64_t{1} << 31,
                             (int64_t{1} << 31) + 1,
                             int64_t{1} << 32,
                             int64_t{1} << 59,
                             int64_t{1} << 60,
                             int64_t{1} << 61,
                             int64_t{1} << 62,
                             most - 63,
                             most - 1,
                             most};

// Returns a view that repeats one number: all strides are 0.
View repeated(const void* number, const Shape& shape, DType dtype = DType::f32) {
  View view;
  view.dtype = dtype;
  view.data = const_cast<void*>(number);
  view.shape = shape;
  return view;
}

Options of(const char* layout) {
  Options options;
  options.layout = layout;
  return options;
}

// Expects that `call` throws std::bad_alloc, or an Error about the range of int64.
void expect_refused(const std::function<void()>& call, const std::string& what) {
  try {
    call();
    ADD_FAILURE() << what << ": was not refused";
  } catch (const std::bad_alloc&) {
  } catch (const pointwise::Error& error) {
    EXPECT_NE(error.detail().find("int64"), std::string::npos) << what << ": " << error.what();
  }
}

TEST(Sizes, OfWeights) {
  const float number = 1;
  for (const int64_t n : edges) {
    if (n < int64_t{1} << 40) continue;  // the system could have enough memory for such weights
    for (const Shape& shape : {Shape{1, n}, Shape{n, 1}, Shape{n, n}, Shape{3, n / 3}, Shape{n / 2, 2}}) {
      expect_refused([&] { Layer(repeated(&number, shape), nullptr, of("NC")); }, to_string(shape));
      float result[3];
      expect_refused(
          [&] {
            const Layer layer = Layer::borrowing(repeated(&number, shape), nullptr, of("NC"));
            layer(repeated(&number, {1, shape[1]}), repeated(result, {1, shape[0]}));
          },
          "borrowed " + to_string(shape));
    }
    // Without output channels there are no weights, for any number of input channels.
    for (const char* layout : {"NC", "C"}) {
      const auto call = [&] {
        const Layer layer = Layer::borrowing(repeated(&number, {0, n}), nullptr, of(layout));
        const bool batched = layout[0] == 'N';
        layer(repeated(&number, batched ? Shape{1, n} : Shape{n}), repeated(nullptr, batched ? Shape{1, 0} : Shape{0}));
      };
      if (n <= most / 4)
        EXPECT_NO_THROW(call()) << n;
      else
        expect_refused(call, std::to_string(n) + " input channels, no output channels");
    }
  }
}

TEST(Sizes, OfSources) {
  const float number = 1;
  const Layer layer(repeated(&number, {1, 1}), nullptr, of("NCW"));
  for (const int64_t n : edges)
    for (const int64_t stride : {n, n - 1, n / 2 + 1, most}) {
      // A src of n pixels gives one or two output pixels. Results are right, or the call is refused because byte
      // offsets exceed int64.
      Options options = of("NCW");
      options.stride = {stride};
      const Layer strided(repeated(&number, {1, 1}), nullptr, options);
      const Shape shape{1, 1, n};
      float result[2] = {7, 7};
      const int64_t pixels = (n - 1) / stride + 1;
      ASSERT_LE(pixels, 2);
      const auto call = [&] { strided(repeated(&number, shape), View(result, DType::f32, {1, 1, pixels})); };
      if (n <= most / 4) {
        call();
        EXPECT_EQ(result[0], 1) << n;
        EXPECT_EQ(result[1], pixels == 2 ? 1 : 7) << n;
      } else {
        expect_refused(call, to_string(shape));
        EXPECT_EQ(result[0], 7);
      }
    }
  EXPECT_THROW(layer.explain({1, 1, int64_t{1} << 62}), pointwise::Error);
  EXPECT_NE(layer.explain({1, 1, int64_t{1} << 60}).find("kernel"), std::string::npos);
  EXPECT_NE(layer.explain({int64_t{1} << 60, 1, 1}).find("kernel"), std::string::npos);
}

// For arrays of any size, explain() throws an error or describes a plan without negative counts.
TEST(Sizes, OfPlans) {
  const std::vector<float> numbers(100 * 30);
  Random random(95);
  for (const char* layout : {"NCHW", "NHWC"})
    for (int round = 0; round < 300; ++round) {
      Options options = of(layout);
      if (random.one_in(3)) options.padding = {random.one_in(2) ? 1 : int64_t{1} << random.integer(1, 62)};
      if (random.one_in(3)) options.stride = {int64_t{1} << random.integer(0, 62)};
      const int64_t channels = random.integer(1, 100), inputs = random.integer(0, 30);
      const Layer layer(View(numbers.data(), DType::f32, {channels, inputs}), nullptr, options);
      const auto size = [&] {
        const int64_t power = int64_t{1} << random.integer(0, 62);
        return random.one_in(3) ? 1 : power + (random.one_in(2) ? random.integer(-1, 1) : 0);
      };
      Shape src{size(), size(), size(), size()};
      src[layout[1] == 'C' ? 1 : 3] = inputs;
      try {
        const std::string text = layer.explain(src);
        EXPECT_EQ(text.find("pieces: -"), std::string::npos) << text;
        EXPECT_EQ(text.find("at most -"), std::string::npos) << text;
      } catch (const pointwise::Error&) {
      } catch (const std::bad_alloc&) {
      }
    }
}

// Tests strides that are never used. An axis of length 1 may have any stride, and an array without elements may have
// any strides.
TEST(Sizes, OfStridesThatAreNeverTaken) {
  const std::vector<float> numbers(64, 1.0f);
  for (const int64_t stride :
       {most, -most, std::numeric_limits<int64_t>::min(), int64_t{1} << 62, -(int64_t{1} << 62)}) {
    const auto wild = [&](const void* data, const Shape& shape) {
      View view(data, DType::f32, shape);
      for (int i = 0; i < shape.rank; ++i)
        if (shape[i] == 1 || elements(shape) == 0) view.strides[i] = stride;
      return view;
    };
    for (const Shape& weights : {Shape{1, 1}, Shape{3, 1}, Shape{1, 3}, Shape{40, 0}, Shape{0, 40}})
      for (const Shape& pixels : {Shape{1, 1, 1}, Shape{2, 1, 3}, Shape{1, 4, 1}, Shape{0, 3, 3}, Shape{2, 0, 3}})
        for (const bool channels_last : {false, true}) {
          const auto shape = [&](int64_t c) {
            return channels_last ? Shape{pixels[0], pixels[1], pixels[2], c}
                                 : Shape{pixels[0], c, pixels[1], pixels[2]};
          };
          const View w = wild(numbers.data(), weights), bias = wild(numbers.data(), {weights[0]});
          const View src = wild(numbers.data(), shape(weights[1]));
          const View scale = wild(numbers.data(), {pixels[0], weights[1]});
          std::vector<float> result(static_cast<size_t>(40 * 6), 7.0f);
          const View dst = wild(result.data(), shape(weights[0]));
          const Layer layer(w, &bias, of(channels_last ? "NHWC" : "NCHW"));
          const auto check = [&](const char* who) {
            for (int64_t i = 0; i < elements(dst.shape); ++i)
              ASSERT_EQ(result[static_cast<size_t>(i)], 1 + weights[1])
                  << who << to_string(weights) << to_string(pixels);
            result.assign(result.size(), 7.0f);
          };
          layer(src, dst);
          check("layer ");
          layer(src, dst, nullptr, 0, &scale);
          check("scaled ");
          Layer::borrowing(w, &bias, layer.options())(src, dst);
          check("borrowing ");
          Chain({&layer})(src, dst);
          check("chain ");
          if (testing::Test::HasFatalFailure()) return;
        }
  }
}

// Tests `Parts` of ranges whose length is so large that its square exceeds int64.
TEST(Sizes, OfParts) {
  for (const int64_t total : {(int64_t{1} << 40) + 1, int64_t{1} << 45, (int64_t{1} << 60) - 5})
    for (const int64_t unit : {1, 6, 48})
      for (const int64_t length : {unit, 7 * unit, 1000000 * unit}) {
        const Parts parts = pointwise::fewest_parts(total, unit, length);
        EXPECT_EQ(parts.begin(0), 0);
        EXPECT_EQ(parts.begin(parts.count), total);
        for (const int64_t part : {int64_t{0}, int64_t{1}, parts.count / 3, parts.count / 2, parts.count - 1}) {
          const int64_t size = parts.begin(part + 1) - parts.begin(part);
          EXPECT_GT(size, 0) << total << " in parts of " << length << ", part " << part;
          EXPECT_LE(size, parts.largest()) << total << " in parts of " << length << ", part " << part;
          EXPECT_EQ(parts.begin(part) % unit, 0);
        }
      }
}

// Tests that the sizes of a block are limited, because kernels multiply these sizes.
TEST(Sizes, OfKernelCalls) {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const bool wide : {false, true})
      for (const bool channels_last : {false, true}) {
        const int64_t many = int64_t{1} << 40, item = dtype == DType::f32 ? 4 : 8;
        pointwise::Product lowered{};
        lowered.groups = 1;
        lowered.m = wide ? many : 1;
        lowered.k = 1;
        const int64_t pixels = wide ? 1 : many;
        lowered.dst_m = lowered.src_k = channels_last ? item : pixels * item;
        lowered.boxes = 1;
        lowered.box[0].k = 1;
        lowered.box[0].axes = 1;
        lowered.box[0].axis[0] = {pixels, item, channels_last ? lowered.m * item : item, 0};
        for (const auto& c : candidates(work_of(lowered, lowered.box[0], 1), pointwise::kernels(dtype).rows)) {
          if (c.refused) continue;
          EXPECT_LE(c.blocking.n_block, int64_t{1} << 30);
          EXPECT_LE(c.blocking.m_block, int64_t{1} << 30);
        }
      }
}

TEST(Sizes, OfRows) {
  EXPECT_EQ(pointwise::padded_row(0), 64);
  EXPECT_EQ(pointwise::padded_row(1), 64);
  EXPECT_EQ(pointwise::padded_row(1024), 1088);
  for (const int64_t bytes : {most, most - 62}) EXPECT_THROW(pointwise::padded_row(bytes), std::bad_alloc);
}

// Tests that a chain refuses layers with borrowed weights. Such a layer packs its weights in each call, but a chain has
// no memory for packed weights.
TEST(Sizes, AChainTakesNoLayerThatBorrows) {
  const std::vector<float> numbers(12);
  const View weights(numbers.data(), DType::f32, {3, 4});
  const Layer layer = Layer::borrowing(weights, nullptr, Options());
  try {
    const Chain chain({&layer});
    ADD_FAILURE();
  } catch (const pointwise::Error& error) {
    EXPECT_EQ(error.argument(), Argument::layers);
    EXPECT_NE(error.detail().find("layer 0 must own its weights"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace pointwise_tests
