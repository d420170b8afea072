// Products of matrices over strided arrays. For each group and each box, a product is dst[m, n] = weights[m, k] *
// src[k, n].
//
// m counts output channels, n counts pixels and k counts input channels. A box is a rectangle of output pixels over
// several axes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/types.h"

namespace pointwise {

// An axis of pixels, or the batch axis: its size, and its stride in bytes in each array.
struct Axis {
  int64_t size;
  ptrdiff_t src, dst, residual;
  ptrdiff_t scale = 0;  // stride of input_scale; 0 except for the batch axis
};

constexpr int max_axes = 1 + max_spatial;
constexpr int max_boxes = 2 + 2 * max_spatial;  // the inside, which a plan may cut in two, and the padding around it

// A box of output pixels. Axes are ordered from the outermost to the innermost. Neighbouring axes are merged if their
// pixels are evenly spaced in all arrays. Axes of size 1 are dropped, but one axis always remains.
struct Box {
  int64_t k;  // input channels of a group; 0 if the box lies in the padding
  int axes;
  std::array<Axis, max_axes> axis;
  ptrdiff_t src, dst, residual;  // bytes from the start of each array to the first pixel
  ptrdiff_t scale = 0;
};

struct Product {
  Types types;
  int64_t groups, m, k;                // m output channels and k input channels of one group
  ptrdiff_t src_k, dst_m, residual_m;  // bytes from one channel to the next
  bool has_residual, has_scale;
  bool has_slopes;  // true if PReLU follows the sums
  int boxes;
  std::array<Box, max_boxes> box;  // no box is empty
};

// Drops axes of size 1 and sorts the others by their stride in one of the arrays, the longest stride first. Then merges
// neighbouring axes (see Box).
void merge_axes(Box* box, ptrdiff_t Axis::* order = &Axis::dst);

// Computes the byte offsets of `count` pixels in one of the arrays. The first pixel is `begin`. `step` selects the
// array.
void pixel_offsets(const Axis* axis, int axes, int64_t begin, int64_t count, ptrdiff_t Axis::* step, ptrdiff_t* to);

}  // namespace pointwise
