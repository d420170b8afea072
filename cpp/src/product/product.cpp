#include "product/product.h"

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

}  // namespace pointwise
