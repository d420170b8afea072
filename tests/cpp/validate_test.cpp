// Tests the validation of shapes, layouts, strides, padding, groups and weights, and the messages of these errors. Also
// tests cost().
#include "convolution/validate.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/checked.h"
#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::Argument;
using pointwise::DType;
using pointwise::Layer;

constexpr int64_t most = std::numeric_limits<int64_t>::max();

TEST(Checked, SaysWhenItLeavesInt64) {
  int64_t r = 5;
  EXPECT_TRUE(pointwise::checked_add(most - 1, 1, &r));
  EXPECT_EQ(r, most);
  EXPECT_FALSE(pointwise::checked_add(most, 1, &r));
  EXPECT_FALSE(pointwise::checked_add(-most, -2, &r));
  EXPECT_FALSE(pointwise::checked_multiply(int64_t{1} << 32, int64_t{1} << 31, &r));
  EXPECT_EQ(r, most) << "unchanged";
  EXPECT_TRUE(pointwise::checked_multiply(int64_t{1} << 31, int64_t{1} << 31, &r));
  EXPECT_EQ(r, int64_t{1} << 62);
  EXPECT_EQ(pointwise::allocation_size(3, 4), 12);
  EXPECT_THROW(pointwise::allocation_size(most, 2), std::bad_alloc);
  EXPECT_EQ(pointwise::ceil_div(most, 2), (most >> 1) + 1);
  EXPECT_EQ(pointwise::ceil_div(0, 3), 0);
  EXPECT_EQ(pointwise::round_up(65, 64), 128);
}

TEST(OutputSize, IsTheFormula) {
  constexpr int64_t big = int64_t{1} << 62;
  const struct {
    int64_t size, stride, padding, expected;
  } table[] = {{0, 1, 0, 0},    {0, 3, 0, 0}, {1, 1, 0, 1},         {1, 7, 0, 1},       {7, 2, 0, 4},
               {8, 2, 0, 4},    {7, 2, 1, 5}, {0, 1, 1, 2},         {0, 2, 1, 1},       {5, 3, 2, 3},
               {10, big, 0, 1}, {1, 1, 3, 7}, {1, big, big / 2, 2}, {most, 1, 0, most}, {1, big / 2, big / 2, 3}};
  for (const auto& t : table)
    EXPECT_EQ(pointwise::output_size(t.size, t.stride, t.padding), t.expected)
        << t.size << ", stride " << t.stride << ", padding " << t.padding;
  EXPECT_THROW(pointwise::output_size(0, 1, big), pointwise::Error);
  EXPECT_THROW(pointwise::output_size(most, 1, 1), pointwise::Error);
}

TEST(Layouts, EveryLetterIsItsAxis) {
  for (const std::string name : all_layouts) {
    SCOPED_TRACE(name);
    const pointwise::Layout& layout = pointwise::parse_layout(name);
    EXPECT_EQ(name, layout.name);
    EXPECT_EQ(layout.rank, static_cast<int>(name.size()));
    EXPECT_EQ(name[static_cast<size_t>(layout.channels)], 'C');
    EXPECT_EQ(layout.batch, name[0] == 'N' ? 0 : -1);
    EXPECT_EQ(layout.spatial, layout.rank - 1 - (layout.batch == 0));
    const std::string spatial = std::string("DHW").substr(static_cast<size_t>(3 - layout.spatial));
    for (int i = 0; i < layout.spatial; ++i)
      EXPECT_EQ(name[static_cast<size_t>(layout.spatial_axis[i])],
                (layout.spatial == 1 ? std::string("W") : spatial)[static_cast<size_t>(i)]);
  }
  for (const char* wrong : {"", "nchw", "NCHWD", "CN", "NHW", "NCHW "})
    EXPECT_THROW(pointwise::parse_layout(wrong), pointwise::Error) << wrong;
}

TEST(Cost, Counts) {
  Options options;
  pointwise::Cost cost = pointwise::cost({1, 32, 10, 10}, 16, options, true);
  EXPECT_EQ(cost.params, 16 * 32 + 16);
  EXPECT_EQ(cost.macs, 16 * 32 * 100);
  EXPECT_EQ(cost.flops, 2 * 16 * 32 * 100);
  EXPECT_EQ(cost.bytes, 4 * (32 * 100 + 16 * 100 + 16 * 32 + 16));
  EXPECT_EQ(cost.output_shape, (Shape{1, 16, 10, 10}));

  options.stride = {2};  // reads a quarter of the pixels
  options.dtype = DType::f64;
  options.groups = 4;
  cost = pointwise::cost({1, 32, 10, 10}, 16, options, false);
  EXPECT_EQ(cost.params, 16 * 8);
  EXPECT_EQ(cost.macs, 16 * 8 * 25);
  EXPECT_EQ(cost.bytes, 8 * (32 * 25 + 16 * 25 + 16 * 8));

  options = Options();
  options.layout = "NWC";
  options.padding = {3};
  options.stride = {2};  // output pixels 2 and 3 read input pixels 1 and 3; the other four are padding
  cost = pointwise::cost({2, 5, 3}, 7, options, false);
  EXPECT_EQ(cost.output_shape, (Shape{2, 6, 7}));
  EXPECT_EQ(cost.macs, 2 * 6 * 7 * 3);
  EXPECT_EQ(cost.bytes, 4 * (2 * 2 * 3 + 2 * 6 * 7 + 7 * 3));

  EXPECT_EQ(pointwise::cost({0, 32, 10, 10}, 16, Options(), false).macs, 0);
  EXPECT_THROW(pointwise::cost({1, 1 << 20, 1 << 20, 1 << 20}, 1 << 20, Options(), false), pointwise::Error);
}

// Expects that `call` throws an Error with this argument and message.
void expect_error(Argument argument, const std::string& message, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error: " << message;
  } catch (const pointwise::Error& error) {
    EXPECT_EQ(error.argument(), argument) << error.what();
    EXPECT_EQ(error.what(), message);
    const std::string what = error.what();
    EXPECT_EQ(error.detail(), what.substr(what.find(' ') + 1));
  }
}

TEST(Errors, SayWhatWasExpectedAndWhatCame) {
  const std::vector<float> memory(1000);
  const auto view = [&](const Shape& shape) { return View(memory.data(), DType::f32, shape); };
  const auto make = [&](const Shape& weights, auto change) {
    Options options;
    change(options);
    const View weights_view = view(weights);
    return [weights_view, options] { Layer(weights_view, nullptr, options); };
  };
  const auto nothing = [](Options&) {};

  expect_error(Argument::layout,
               "layout must be one of NCHW, NHWC, NCW, NWC, NCDHW, NDHWC, NC, CHW, HWC, CW, WC, CDHW, DHWC, C, got "
               "\"NHCW\"",
               make({4, 3}, [](Options& o) { o.layout = "NHCW"; }));
  expect_error(Argument::stride, "stride must be at least 1, got 0", make({4, 3}, [](Options& o) { o.stride = {0}; }));
  expect_error(Argument::stride, "stride must be at least 1, got (1, -2)",
               make({4, 3}, [](Options& o) { o.stride = {1, -2}; }));
  expect_error(Argument::stride,
               "stride must be one integer, or one for each of the 2 spatial axes of NCHW, got (1, 2, 3)",
               make({4, 3}, [](Options& o) { o.stride = {1, 2, 3}; }));
  expect_error(Argument::padding, "padding must be at least 0, got -1",
               make({4, 3}, [](Options& o) { o.padding = {-1}; }));
  expect_error(Argument::padding, "padding must be one integer, or one for each of the 2 spatial axes of NCHW, got ()",
               make({4, 3}, [](Options& o) { o.padding = {}; }));
  expect_error(Argument::groups, "groups must be at least 1, got 0", make({4, 3}, [](Options& o) { o.groups = 0; }));
  expect_error(Argument::groups, "groups must divide the 4 output channels, got 3",
               make({4, 3}, [](Options& o) { o.groups = 3; }));
  expect_error(Argument::groups, "groups must keep the number of input channels within int64, got 4611686018427387904",
               make({0, 3}, [](Options& o) { o.groups = int64_t{1} << 62; }));
  expect_error(Argument::weights, "weights must have shape (output channels, input channels / groups), got (4, 3, 1)",
               make({4, 3, 1}, nothing));

  const View weights = view({4, 3}), long_bias = view({5});
  expect_error(Argument::bias, "bias must have shape (4,), got (5,) for weight shape (4, 3)",
               [&] { Layer(weights, &long_bias, Options()); });

  const Layer layer(weights, nullptr, Options());
  expect_error(Argument::src, "src must have the 4 axes of layout NCHW, got shape (1, 3, 5); pass layout=\"NCW\"",
               [&] { layer.output_shape({1, 3, 5}); });
  expect_error(Argument::src,
               "src must have 3 channels (axis 1 of NCHW), got shape (1, 2, 5, 5) for weight shape (4, 3)",
               [&] { layer.output_shape({1, 2, 5, 5}); });
  expect_error(Argument::src,
               "src must have 3 channels (axis 1 of NCHW), got shape (1, 4, 5, 5) for weight shape (4, 3); the weight "
               "seems to be transposed: pass weight.swapaxes(0, 1)",
               [&] { layer.output_shape({1, 4, 5, 5}); });
  expect_error(Argument::src, "src must have no negative size, got shape (1, 3, -5, 5)",
               [&] { layer.output_shape({1, 3, -5, 5}); });

  std::vector<float> dst(100, 7.0f);
  const View src = view({1, 3, 5, 5}), right(dst.data(), DType::f32, {1, 4, 5, 5});
  const View wrong(dst.data(), DType::f32, {1, 4, 5, 4}), residual = view({1, 4, 4, 5});
  expect_error(Argument::dst, "dst must have shape (1, 4, 5, 5), got (1, 4, 5, 4)", [&] { layer(src, wrong); });
  expect_error(Argument::residual, "residual must have shape (1, 4, 5, 5), got (1, 4, 4, 5)",
               [&] { layer(src, right, &residual); });
  EXPECT_EQ(dst, std::vector<float>(100, 7.0f)) << "a failed call leaves dst untouched";

  Options padded;
  padded.padding = {int64_t{1} << 62};
  const Layer too_wide(weights, nullptr, padded);
  expect_error(Argument::padding,
               "padding must keep the size of the padded image within int64, got 4611686018427387904",
               [&] { too_wide.output_shape({1, 3, 5, 5}); });

  expect_error(Argument::weights, "weights must have at least 0 output channels, got -1",
               [] { pointwise::cost({1, 3, 5, 5}, -1, Options(), false); });
  Options grouped;
  grouped.groups = 2;
  expect_error(Argument::groups, "groups must divide the 3 input channels, got 2",
               [&] { pointwise::cost({1, 3, 5, 5}, 4, grouped, false); });
}

TEST(Errors, NameTheWeights) {
  const float number = 0;
  for (const Shape& shape : {Shape{4, -1}, Shape{-1, 3}, Shape{-16, 3}, Shape{4}, Shape{4, 3, 1}}) {
    View weights(&number, DType::f32, {1, 1});
    weights.shape = shape;
    expect_error(Argument::weights,
                 "weights must have shape (output channels, input channels / groups), got " + to_string(shape),
                 [&] { Layer layer(weights, nullptr, Options()); });
  }
}

TEST(Errors, NameTheDtypeAndTheScalesOfWeights) {
  const float numbers[12] = {};
  const View bytes(numbers, DType::i8, {4, 3}), floats(numbers, DType::f32, {4, 3});
  Options o;
  o.weight_dtype = DType::i8;
  const auto make = [&](const View& weights) { return [&] { Layer layer(weights, nullptr, o); }; };
  expect_error(Argument::weight_scales, "weight_scales must have 4 numbers, one for each output channel, got 0",
               make(bytes));
  o.weight_scales = {1, 2, 0, 1};
  expect_error(Argument::weight_scales, "weight_scales must be positive and finite, got 0.000000", make(bytes));
  o.weight_scales = {1, 2, std::numeric_limits<float>::infinity(), 1};
  expect_error(Argument::weight_scales, "weight_scales must be positive and finite, got inf", make(bytes));
  o.weight_scales = {1, 2, 3, 4};
  expect_error(Argument::weights, "weights must have dtype int8, got float32", make(floats));
  o.weight_dtype = DType::u8;
  expect_error(Argument::weight_dtype, "weight_dtype must be int8 or not be given, got uint8", make(bytes));
  o.weight_dtype = std::nullopt;
  expect_error(Argument::weight_scales, "weight_scales must have 0 numbers unless weight_dtype is given, got 4",
               make(floats));
  o.weight_scales.clear();
  o.weight_dtype = DType::i8;
  o.dtype = DType::f64;
  expect_error(Argument::weight_dtype, "weight_dtype must not be given for dtype float64, only for float32, got int8",
               [&] { pointwise::cost({1, 3, 5, 5}, 4, o, false); });
}

TEST(Shapes, HaveAtMostFiveAxes) {
  EXPECT_THROW((Shape{1, 2, 3, 4, 5, 6}), std::length_error);
  EXPECT_EQ(to_string(Shape{1, 32, 10, 10}), "(1, 32, 10, 10)");
  EXPECT_EQ(to_string(Shape{7}), "(7,)");
  EXPECT_EQ(to_string(Shape{}), "()");
}

TEST(Views, AreContiguousUnlessSaidOtherwise) {
  const View view(nullptr, DType::f64, {2, 3, 5});
  EXPECT_EQ(view.strides[0], 120);
  EXPECT_EQ(view.strides[1], 40);
  EXPECT_EQ(view.strides[2], 8);
  EXPECT_EQ(View(nullptr, DType::f32, {4, 0, 5}).strides[0], 20);
}

}  // namespace
}  // namespace pointwise_tests
