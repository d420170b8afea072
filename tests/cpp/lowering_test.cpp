// Tests the lowering of convolutions to boxes. Every output pixel must be in one box, and read the src pixel that the
// definition gives.
#include "convolution/lowering.h"

#include <gtest/gtest.h>

#include <map>

#include "problem.h"

namespace pointwise_tests {
namespace {

using pointwise::Axis;
using pointwise::Box;
using pointwise::Layout;
using pointwise::Product;
using pointwise::Window;

// Calls visit(src, dst, residual) with the byte offsets of every pixel of a box.
template <class Visit>
void for_each_pixel(const Box& box, const Visit& visit) {
  int64_t pixels = 1;
  for (int i = 0; i < box.axes; ++i) pixels *= box.axis[i].size;
  for (int64_t k = 0; k < pixels; ++k) {
    int64_t rest = k;
    ptrdiff_t src = box.src, dst = box.dst, residual = box.residual;
    for (int i = box.axes - 1; i >= 0; --i) {
      const Axis& axis = box.axis[i];
      const int64_t at = rest % axis.size;
      rest /= axis.size;
      src += at * axis.src;
      dst += at * axis.dst;
      residual += at * axis.residual;
    }
    visit(src, dst, residual);
  }
}

TEST(Lowering, BoxesCoverEveryPixelOnce) {
  Random random(70);
  for (int round = 0; round < 2000; ++round) {
    const Problem p = random_problem(random, pointwise::DType::f32);
    if (p.c_out == 0) continue;
    SCOPED_TRACE("round " + std::to_string(round) + ": " + p.text());
    const Layout& layout = pointwise::parse_layout(p.options.layout);
    const Window window = validate_window(p.options, layout);
    const Shape output = validate_src(p.src, layout, window, p.inputs * p.options.groups, p.c_out, p.options.groups);
    const auto number = [] { return 0.0f; };
    const Array<float> src = make_array<float>(p.src, random_lies(random, true), random, number);
    const Array<float> dst = make_array<float>(output, random_lies(random, false), random, number);
    const Array<float> residual = make_array<float>(output, random_lies(random, true), random, number);
    const Product lowered = lower(layout, window, p.options.groups, p.options.dtype, src.view, dst.view,
                                  p.residual ? &residual.view : nullptr);
    EXPECT_EQ(lowered.groups, p.options.groups);
    EXPECT_EQ(lowered.m, p.c_out / p.options.groups);
    EXPECT_EQ(lowered.k, p.inputs);
    EXPECT_EQ(lowered.has_residual, p.residual);

    struct Pixel {
      bool inside;
      ptrdiff_t src, residual;
    };
    std::map<ptrdiff_t, Pixel> expected;  // the pixel at each offset in dst
    Shape pixels = output;
    pixels[layout.channels] = 1;
    for (int64_t e = 0; e < elements(pixels); ++e) {
      int64_t rest = e;
      ptrdiff_t dst_at = 0;
      Pixel pixel{true, 0, 0};
      std::array<int64_t, pointwise::max_rank> index{};
      for (int i = pixels.rank - 1; i >= 0; --i) {
        index[i] = rest % pixels[i];
        rest /= pixels[i];
        dst_at += index[i] * dst.view.strides[i];
        pixel.residual += p.residual ? index[i] * residual.view.strides[i] : 0;
      }
      if (layout.batch >= 0) pixel.src += index[layout.batch] * src.view.strides[layout.batch];
      for (int i = 0; i < layout.spatial; ++i) {
        const int axis = layout.spatial_axis[i];
        const int64_t at = index[axis] * window.stride[i] - window.padding[i];
        pixel.inside = pixel.inside && at >= 0 && at < p.src[axis];
        pixel.src += at * src.view.strides[axis];
      }
      expected[dst_at] = pixel;
    }
    for (int i = 0; i < lowered.boxes; ++i) {
      const Box& box = lowered.box[i];
      ASSERT_GE(box.axes, 1);
      for_each_pixel(box, [&](ptrdiff_t src_at, ptrdiff_t dst_at, ptrdiff_t residual_at) {
        const auto found = expected.find(dst_at);
        ASSERT_NE(found, expected.end()) << "this is no output pixel, or the pixel occurs twice";
        const Pixel& pixel = found->second;
        if (p.inputs > 0) {
          ASSERT_EQ(box.k, pixel.inside ? p.inputs : 0);
        }
        if (pixel.inside && p.inputs > 0) {
          ASSERT_EQ(src_at, pixel.src);
        }
        ASSERT_EQ(residual_at, pixel.residual);
        expected.erase(found);
      });
      if (HasFatalFailure()) return;
    }
    ASSERT_TRUE(expected.empty()) << expected.size() << " pixels are in no box";
  }
}

Product lower_width(int64_t width, int64_t stride, int64_t padding) {
  const Layout& layout = pointwise::parse_layout("CW");
  const Window window{{stride, 1, 1}, {padding, 0, 0}};
  const Shape src{3, width}, dst{2, pointwise::output_size(width, stride, padding)};
  return lower(layout, window, 1, pointwise::DType::f32, View(nullptr, pointwise::DType::f32, src),
               View(nullptr, pointwise::DType::f32, dst), nullptr);
}

// Counts the output pixels before, inside and after the image along one axis, and checks the first src pixel that is
// read.
TEST(Lowering, Edges) {
  constexpr int64_t big = int64_t{1} << 62;
  const struct {
    int64_t width, stride, padding, before, inside, behind, first;
  } table[] = {
      {5, 1, 0, 0, 5, 0, 0},          {5, 1, 2, 2, 5, 2, 0},          {5, 2, 1, 1, 2, 1, 1},
      {5, 9, 0, 0, 1, 0, 0},          {5, 9, 4, 1, 0, 1, -1},         {2, 9, 4, 2, 0, 0, -1},
      {5, 3, 7, 3, 1, 3, 2},          {0, 1, 2, 4, 0, 0, -1},         {5, big, 0, 0, 1, 0, 0},
      {1, big, big - 1, 2, 0, 0, -1}, {3, big, big / 2, 2, 0, 0, -1}, {1, big / 2, big / 2, 1, 1, 1, 0},
      {4, big, 3, 1, 0, 0, -1},
  };
  for (const auto& t : table) {
    SCOPED_TRACE("width " + std::to_string(t.width) + ", stride " + std::to_string(t.stride) + ", padding " +
                 std::to_string(t.padding));
    const Product lowered = lower_width(t.width, t.stride, t.padding);
    int64_t inside = 0, outside = 0;
    for (int i = 0; i < lowered.boxes; ++i) {
      const Box& box = lowered.box[i];
      ASSERT_EQ(box.axes, 1);
      if (box.k > 0) {
        inside += box.axis[0].size;
        EXPECT_EQ(box.src, 4 * t.first);
        EXPECT_EQ(box.dst, 4 * t.before);
        if (box.axis[0].size > 1) {
          EXPECT_EQ(box.axis[0].src, 4 * t.stride);
        }
      } else {
        outside += box.axis[0].size;
      }
    }
    EXPECT_EQ(inside, t.inside);
    EXPECT_EQ(outside, t.before + t.behind);
  }
}

// Tests that the strides of an image without channels are ignored, because such strides may have any values.
TEST(Lowering, StridesOfAnImageWithoutElementsAreLeftOut) {
  View src(nullptr, pointwise::DType::f32, {2, 0, 5});
  src.strides = {int64_t{1} << 60, int64_t{1} << 60, int64_t{1} << 60};
  const View dst(nullptr, pointwise::DType::f32, {2, 3, 3});
  const Window window{{2, 1, 1}, {0, 0, 0}};
  const Product lowered = lower(pointwise::parse_layout("NCW"), window, 1, pointwise::DType::f32, src, dst, nullptr);
  ASSERT_EQ(lowered.boxes, 1);
  EXPECT_EQ(lowered.box[0].src, 0);
  for (int i = 0; i < lowered.box[0].axes; ++i) EXPECT_EQ(lowered.box[0].axis[i].src, 0);
}

TEST(Lowering, MergesAxesThatStepEvenly) {
  const auto lowered = [](const char* name, const Shape& src, const Shape& dst, int64_t stride) {
    const Window window{{stride, stride, 1}, {0, 0, 0}};
    return lower(pointwise::parse_layout(name), window, 1, pointwise::DType::f32,
                 View(nullptr, pointwise::DType::f32, src), View(nullptr, pointwise::DType::f32, dst), nullptr);
  };
  const struct {
    const char* layout;
    Shape src, dst;
    int64_t stride;
    int axes;
  } table[] = {
      {"NCHW", {1, 3, 7, 7}, {1, 4, 7, 7}, 1, 1},  // all pixels step evenly
      {"NCHW", {2, 3, 7, 7}, {2, 4, 7, 7}, 1, 2},  // a gap between images
      {"NHWC", {2, 7, 7, 3}, {2, 7, 7, 4}, 1, 1},  // no gap between images
      {"NCHW", {1, 3, 7, 7}, {1, 4, 4, 4}, 2, 2},  // a gap between rows
      {"NHWC", {2, 7, 7, 3}, {2, 4, 4, 4}, 2, 3},
      {"NHWC", {2, 8, 8, 3}, {2, 4, 4, 4}, 2, 2},  // even height: the next image continues the rows
      {"NC", {9, 3}, {9, 4}, 1, 1},
      {"C", {3}, {4}, 1, 1},
  };
  for (const auto& t : table) {
    const Product l = lowered(t.layout, t.src, t.dst, t.stride);
    ASSERT_EQ(l.boxes, 1) << t.layout;
    EXPECT_EQ(l.box[0].axes, t.axes) << t.layout << " " << to_string(t.src) << ", stride " << t.stride;
  }
  EXPECT_EQ(lowered("NCHW", {0, 3, 7, 7}, {0, 4, 7, 7}, 1).boxes, 0);
  EXPECT_EQ(lowered("NCHW", {1, 3, 7, 7}, {1, 0, 7, 7}, 1).boxes, 0);
}

}  // namespace
}  // namespace pointwise_tests
