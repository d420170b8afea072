// Checks the arguments of gradients. The functions that compute gradients are in the public header.
#pragma once

#include "pointwise/pointwise.h"

namespace pointwise {

// Throws Error unless the gradient of src of this shape can be computed from `grad` and `weights`.
void validate_src_gradient(const View& grad, const View& weights, const Shape& src_shape, const Options& options);

// Returns the shape of the gradient of the weights, (c_out, c_in / groups). Throws Error unless it can be computed from
// `grad` and `src`.
Shape weights_gradient_shape(const View& grad, const View& src, const Options& options);

// Computes the gradient of the bias, of shape (c_out), or adds it to `dst`: the sums of `grad` over all axes except the
// channels. Throws the same errors as gradient_of_weights().
void gradient_of_bias(const View& grad, const View& dst, const std::string& layout, bool accumulate);

// Computes dst[m, n] = sum over all pixels p of left[m, p] * right[n, p], in the order of gradient_of_weights(). Axis
// `channels` of both arrays holds the channels. All other axes hold pixels, and must agree in both arrays. dst has the
// dtype of the sums. If `symmetric` is true, both views are the same, and half of the products are not computed.
// `threads` is as for Layer. May throw std::bad_alloc, but only before the first write to dst.
void gram_matrix(const View& left, const View& right, const View& dst, int channels, bool symmetric, int threads = 0);

}  // namespace pointwise
