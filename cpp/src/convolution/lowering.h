// Lowers a convolution (layout, stride, padding, groups) to products of matrices.
//
// A pointwise convolution is, for every image, group and box of pixels, the product
//     dst[channel, pixel] = weights[channel, input_channel] * src[input_channel, pixel]
// of strided arrays. The stride of the convolution becomes a stride of src. Padding divides the output into an inner
// box and outer boxes around the inner box. Only the inner box reads the image. The products of the outer boxes have no
// input channels.
#pragma once

#include "convolution/validate.h"
#include "product/product.h"

namespace pointwise {

// Lowers a call with valid shapes. `weights` is the dtype of packed weights. `residual` may be null. `input_scale`
// is null or has shape (images, input channels) and contiguous channels. `slopes` is true if PReLU follows the sums.
Product lower(const Layout& layout, const Window& window, int64_t groups, DType weights, const View& src,
              const View& dst, const View* residual, const View* input_scale = nullptr, bool slopes = false);

}  // namespace pointwise
