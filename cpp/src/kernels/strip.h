// The last step of the kernels for few output channels (quads.h, long_rows.h).
//
// These kernels compute the sums of a strip of pixels first: one contiguous row of sums for each output channel. Then
// finish_strip() finishes the rows and stores them to y.
#pragma once

#include "kernels/block.h"

namespace pointwise {
namespace {

// Finishes and stores the sums of a strip of a block: `pixels` pixels from `pixel` on, and `channels` output channels
// from `channel` on. Rows of sums are `width` numbers apart. Overwrites the sums. Reads whole vectors of sums.
template <class V>
void finish_strip(const Block& b, typename V::Number* sums, int width, int64_t pixel, int pixels, int64_t channel,
                  int channels) {
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  if (!has_contiguous_pixels(b, item)) {
    store_rows<V, Rows::channels>(b, sums, width, pixel, pixels, channel, channels);
    return;
  }
  const int whole = pixels / V::lanes, last = pixels % V::lanes;
  for (int c = 0; c < channels; ++c) {
    V* const from = reinterpret_cast<V*>(sums + c * width);
    const ptrdiff_t row = channel + c;
    char* const y = b.y + pixel * item + row * b.y_channel;
    const char* const residual = b.residual ? b.residual + pixel * item + row * b.residual_channel : nullptr;
    // To finish_in_memory, each vector is a row.
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
