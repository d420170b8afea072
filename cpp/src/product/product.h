// A product of matrices over strided arrays: dst[m, n] = weights[m, k] * src[k, n] for each group and each box.
//
// m are output channels, n pixels and k input channels; a box is a rectangle of output pixels over several axes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/types.h"

namespace pointwise {

// One axis of pixels (the batch is one too): how many, and the bytes from one to the next in each array.
struct Axis {
  int64_t size;
  ptrdiff_t src, dst, residual;
  ptrdiff_t scale = 0;  // the batch has a row of input scales for each image
};

constexpr int max_axes = 1 + max_spatial;
constexpr int max_boxes = 2 + 2 * max_spatial;  // the inside, which a plan may cut in two, and around it

// A box of output pixels. Axes are outermost first; neighbours that step evenly in all arrays are merged, axes of size
// 1 are gone (one of size 1 is left where nothing else is).
struct Box {
  int64_t k;  // of a group; 0 where the box lies in the padding
  int axes;
  std::array<Axis, max_axes> axis;
  ptrdiff_t src, dst, residual;  // bytes to the first pixel
  ptrdiff_t scale = 0;
};

struct Product {
  Types types;
  int64_t groups, m, k;                // of a group: output channels, input channels
  ptrdiff_t src_k, dst_m, residual_m;  // bytes from one channel to the next
  bool has_residual, has_scale;
  int boxes;
  std::array<Box, max_boxes> box;  // none is empty
};

// Sorts axes by the step in dst, the longest first, and merges what it can.
void merge_axes(Box* box);

}  // namespace pointwise
