// Sums of products over pixels. For each group, a reduction is dst[m, n] = sum over pixels p of left[m, p] * right[n,
// p]. The gradient of the weights is a reduction: left is the gradient of dst of the convolution, and right is src.
//
// The sum has the canonical order of kernels/kernel.h. Pixels have the place of input channels: chunks of 256 pixels,
// and the sums of chunks are added in ascending order. Threads divide m and n, and never the pixels. So the bits do not
// depend on the number of threads, the strides and the blocking.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "product/product.h"

namespace pointwise {

// A reduction over arrays of `groups` * m, `groups` * n and (`groups` * m, n) channels. The members `src` of the axes
// are the strides of right, and the members `dst` are the strides of left.
struct Reduction {
  DType left, right, sum;  // the dtypes of the operands, and the dtype of the sums and of dst
  int64_t groups, m, n;
  int axes;
  std::array<Axis, max_axes> axis;    // the axes of pixels, in the order in which pixels are counted
  ptrdiff_t left_m, right_n;          // bytes from one channel to the next
  ptrdiff_t dst_m, dst_n, dst_group;  // bytes from the matrix of a group to the next one, in dst_group
  // True if left and right are the same array. Then dst is symmetric, so only the lower half is computed, and the upper
  // half is copied. There must be one group.
  bool symmetric;
};

// Computes dst, or adds the sums to dst if `accumulate` is true, on at most `threads` threads. May throw
// std::bad_alloc, but only before the first write to dst.
void reduce_pixels(Reduction reduction, const char* left, const char* right, char* dst, bool accumulate, int threads);

}  // namespace pointwise
