#include "product/product.h"

#include <algorithm>
#include <cstdlib>

namespace pointwise {

void merge_axes(Box* box, ptrdiff_t Axis::* order) {
  auto& axis = box->axis;
  int kept = 0;
  for (int i = 0; i < box->axes; ++i) {
    if (axis[i].size == 1) continue;
    const Axis moved = axis[i];
    int at = kept++;
    for (; at > 0 && std::abs(axis[at - 1].*order) < std::abs(moved.*order); --at) axis[at] = axis[at - 1];
    axis[at] = moved;
  }
  if (kept == 0) axis[kept++] = {1, 0, 0, 0, 0};
  int last = 0;
  for (int i = 1; i < kept; ++i) {
    Axis& outer = axis[last];
    const Axis& inner = axis[i];
    if (outer.src == inner.size * inner.src && outer.dst == inner.size * inner.dst &&
        outer.residual == inner.size * inner.residual && outer.scale == inner.size * inner.scale)
      outer = {outer.size * inner.size, inner.src, inner.dst, inner.residual, inner.scale};
    else
      axis[++last] = inner;
  }
  box->axes = last + 1;
}

void pixel_offsets(const Axis* axis, int axes, int64_t begin, int64_t count, ptrdiff_t Axis::* step, ptrdiff_t* to) {
  std::array<int64_t, max_axes> at{};
  ptrdiff_t offset = 0;
  for (int i = axes - 1; i >= 0; --i) {
    at[i] = begin % axis[i].size;
    begin /= axis[i].size;
    offset += at[i] * axis[i].*step;
  }
  const Axis& inner = axis[axes - 1];
  for (int64_t k = 0, run; k < count; k += run) {  // from k to the end of the innermost axis
    run = std::min(count - k, inner.size - at[axes - 1]);
    for (int64_t j = 0; j < run; ++j) to[k + j] = offset + j * inner.*step;
    offset += run * inner.*step;
    at[axes - 1] += run;
    for (int i = axes - 1; i > 0 && at[i] == axis[i].size; --i) {
      offset += axis[i - 1].*step - axis[i].size * axis[i].*step;
      at[i] = 0;
      ++at[i - 1];
    }
  }
}

}  // namespace pointwise
