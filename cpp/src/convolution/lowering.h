// From convolution words (layout, stride, padding, groups) to matrix words: the only file that speaks both.
//
// A pointwise convolution is, for every image, group and box of pixels, the product
//     dst[channel, pixel] = weights[channel, input_channel] * src[input_channel, pixel]
// over strided arrays. A stride of the convolution is a stride of the array. Padding cuts the output into the box that
// reads the image and boxes around it that read nothing: products with no input channels.
#pragma once

#include "convolution/validate.h"
#include "product/product.h"

namespace pointwise {

// residual may be null, and so may input_scale: a row of input channels, side by side, for each image. The shapes are
// valid.
// `weights` is the dtype of weights and sums.
Product lower(const Layout& layout, const Window& window, int64_t groups, DType weights, const View& src,
              const View& dst, const View* residual, const View* input_scale = nullptr);

}  // namespace pointwise
