#include "convolution/lowering.h"

#include <algorithm>
#include <cstdlib>

namespace pointwise {

namespace {

// Returns the stride of an axis with a single channel, or 0 if the stride is very large. After the last channel,
// kernels add the stride once more. They do not read from the resulting pointer, but this pointer must not overflow.
int64_t step_not_taken(int64_t stride) {
  constexpr int64_t most = int64_t{1} << 40;
  return -most < stride && stride < most ? stride : 0;
}

}  // namespace

Product lower(const Layout& layout, const Window& window, int64_t groups, DType weights, const View& src,
              const View& dst, const View* residual, const View* input_scale, bool slopes) {
  Product product{};
  product.types = {src.dtype, weights, info(weights).sum, dst.dtype};
  const int c = layout.channels;
  product.groups = groups;
  product.m = dst.shape[c] / groups;
  product.k = src.shape[c] / groups;
  product.src_k = src.shape[c] > 1 ? src.strides[c] : step_not_taken(src.strides[c]);
  product.dst_m = dst.strides[c];
  product.residual_m = residual ? residual->strides[c] : 0;
  product.has_residual = residual != nullptr;
  product.has_scale = input_scale != nullptr;
  product.has_slopes = slopes;
  if (product.m == 0) return product;

  const auto residual_stride = [&](int axis) { return residual ? residual->strides[axis] : 0; };
  std::array<Inside, max_spatial> in{};
  for (int i = 0; i < layout.spatial; ++i) {
    const int axis = layout.spatial_axis[i];
    in[i] = inside(src.shape[axis], window.stride[i], window.padding[i]);
    if (in[i].count == 0) in[i].begin = dst.shape[axis];  // all positions are padding in front of the inside
  }

  // Adds the box [begin, begin + count) along each spatial axis. `inside` is true if all pixels of the box lie in the
  // image.
  const auto add_box = [&](const std::array<Inside, max_spatial>& range, bool inside) {
    const bool reads = inside && product.k > 0;  // an image without elements may have any strides
    if (layout.batch >= 0 && dst.shape[layout.batch] == 0) return;
    for (int i = 0; i < layout.spatial; ++i)
      if (range[i].count == 0) return;
    Box box{};
    box.k = reads ? product.k : 0;
    if (layout.batch >= 0)
      box.axis[box.axes++] = {dst.shape[layout.batch], reads ? src.strides[layout.batch] : 0, dst.strides[layout.batch],
                              residual_stride(layout.batch), reads && input_scale ? input_scale->strides[0] : 0};
    for (int i = 0; i < layout.spatial; ++i) {
      const int axis = layout.spatial_axis[i];
      // A single pixel needs no step. The stride of the convolution may be so large that the step would overflow.
      const bool steps = reads && range[i].count > 1;
      box.axis[box.axes++] = {range[i].count, steps ? window.stride[i] * src.strides[axis] : 0, dst.strides[axis],
                              residual_stride(axis), 0};
      if (reads) box.src += range[i].source * src.strides[axis];
      box.dst += range[i].begin * dst.strides[axis];
      box.residual += range[i].begin * residual_stride(axis);
    }
    merge_axes(&box);
    product.box[product.boxes++] = box;
  };

  add_box(in, true);
  // Adds the boxes of the padding before and after the inside, along each axis. Such a box covers only the inside of
  // all earlier axes, and the whole range of all later axes.
  std::array<Inside, max_spatial> range = in;
  for (int i = layout.spatial - 1; i >= 0; --i) {
    const int64_t output = dst.shape[layout.spatial_axis[i]], end = in[i].begin + in[i].count;
    for (int k = 0; k < layout.spatial; ++k) range[k] = k < i ? in[k] : Inside{0, dst.shape[layout.spatial_axis[k]], 0};
    range[i] = {0, in[i].begin, 0};
    add_box(range, false);
    range[i] = {end, output - end, 0};
    add_box(range, false);
  }
  return product;
}

}  // namespace pointwise
