// Finishes the sums of quads.h, long_rows.h and diagonal.h. These kernels first store their sums in contiguous rows.
#pragma once

#include "kernels/block.h"

namespace pointwise {
namespace {

// Finishes and stores the sums of a part of a block. The part has `pixels` pixels, the first of which is `pixel`. It
// has `channels` output channels, the first of which is `channel`. Each row of sums belongs to one output channel or,
// if R is Rows::pixels, to one pixel. Rows are `width` numbers apart. Overwrites the sums. Also reads and overwrites
// the numbers after the last sum of a row, up to a whole vector. So each row needs room for whole vectors.
template <class V, Rows R = Rows::channels>
void finish_strip(const Block& b, typename V::Number* sums, int width, int64_t pixel, int pixels, int64_t channel,
                  int channels) {
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  if (!is_direct(b, R, item)) {
    store_rows<V, R>(b, sums, width, pixel, pixels, channel, channels);
    return;
  }
  const bool of_channels = R == Rows::channels;
  const int rows = of_channels ? channels : pixels, numbers = of_channels ? pixels : channels;
  const int whole = numbers / V::lanes, last = numbers % V::lanes;
  for (int r = 0; r < rows; ++r) {
    V* const from = reinterpret_cast<V*>(sums + r * width);
    const int64_t p = pixel + (of_channels ? 0 : r), c = channel + (of_channels ? r : 0);
    char* const y = b.y + p * b.y_pixel + c * b.y_channel;
    const char* const residual = b.residual ? b.residual + p * b.residual_pixel + c * b.residual_channel : nullptr;
    // Each vector is passed to finish_in_memory() as a row.
    RowLayout layout = {sizeof(V), residual ? ptrdiff_t{sizeof(V)} : 0, V::lanes, b.stream && sizeof(V) == 64};
    finish_in_memory<V, 1, Straight<V, 1>>(b.epilogue, from, layout, y, residual, whole);
    if (last == 0) continue;
    layout.last = last;
    const ptrdiff_t done = whole * ptrdiff_t{sizeof(V)};
    finish_in_memory<V, 1, Straight<V, 1>>(b.epilogue, from + whole, layout, y + done,
                                           residual ? residual + done : nullptr, 1);
  }
}

}  // namespace
}  // namespace pointwise
