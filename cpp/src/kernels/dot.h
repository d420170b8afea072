// Packing for kernels that multiply pairs of channels of bfloat16 (kernel.h, "Pairs of channels").
//
// V is a vector with 32 bits for a pair. The template parameter P has two functions:
//     P::load(p, q)         returns pairs of the 16-bit numbers at p and at q; q == nullptr gives +0.0
//     P::scale(a, factors)  multiplies the 16-bit numbers of two vectors, and rounds the products to bfloat16
#pragma once

#include "kernels/pack.h"

namespace pointwise {
namespace {

constexpr ptrdiff_t half_item = 2, pair_item = 4;  // bytes
constexpr uint16_t negative_zero = 0x8000;

// Stores one pair. `second` may be null, which gives +0.0.
inline void store_pair(const char* first, const char* second, char* to) {
  __builtin_memcpy(to, first, half_item);
  if (second != nullptr)
    __builtin_memcpy(to + half_item, second, half_item);
  else
    __builtin_memset(to + half_item, 0, half_item);
}

// Implements Pack::run: packs the channels of a pixel. `count` counts channels.
inline void pack_run_dot(const char* from, int64_t count, char* to) {
  __builtin_memcpy(to, from, static_cast<size_t>(count * half_item));
  if (count % 2 != 0) __builtin_memset(to + count * half_item, 0, half_item);
}

// Implements Pack::pixels. Packs `channels` channels as pairs. The pairs of a pixel are `to_channel` bytes apart.
template <class V, class P>
void pack_pixels_dot(const char* x, ptrdiff_t x_channel, const ptrdiff_t* offsets, int64_t pixels, int64_t channels,
                     char* to, ptrdiff_t to_channel) {
  const int64_t pairs = ceil_div(channels, 2);
  if (x_channel == half_item &&
      channels % 2 == 0) {  // pairs are contiguous, so they are packed like numbers of 32 bits
    pack_pixels<V, float, Order::ascending>(x, pair_item, offsets, pixels, pairs, to, to_channel);
    return;
  }
  for (int64_t begin = 0, end; begin < pixels; begin = end) {
    const ptrdiff_t step = begin + 1 < pixels ? offsets[begin + 1] - offsets[begin] : half_item;
    end = begin + 1;
    while (end < pixels && offsets[end] - offsets[end - 1] == step) ++end;
    const char* const from = x + offsets[begin];
    const int64_t count = end - begin;
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const char* const first = from + 2 * pair * x_channel;
      const char* const second = 2 * pair + 1 < channels ? first + x_channel : nullptr;
      char* const row = to + pair * to_channel + begin * pair_item;
      int64_t i = 0;
      if (step == half_item)
        for (; i + V::lanes <= count; i += V::lanes)
          P::load(first + i * half_item, second == nullptr ? nullptr : second + i * half_item)
              .store(row + i * pair_item);
      for (; i < count; ++i)
        store_pair(first + i * step, second == nullptr ? nullptr : second + i * step, row + i * pair_item);
    }
  }
}

// Implements KernelTable::pack_weights.
template <class V>
void pack_weights_dot(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels, char* panel) {
  const int64_t pairs = input_channels / 2;
  pack_weights_panel<V>(weights, step, channels, pairs, panel);
  if (input_channels % 2 == 0) return;
  char* const last = panel + pairs * panel_bytes;
  __builtin_memset(last, 0, panel_bytes);
  for (int64_t o = 0; o < channels; ++o) {
    __builtin_memcpy(last + o * pair_item, weights + o * step + pairs * pair_item, half_item);
    __builtin_memcpy(last + o * pair_item + half_item, &negative_zero, half_item);
  }
}

// Implements KernelTable::scale. The factors are pairs, too.
template <class V, class P>
void scale_pairs(char* pairs, ptrdiff_t row, int64_t rows, int64_t count, const char* factors, bool by_column) {
  constexpr int64_t lanes = V::lanes;
  for (int64_t r = 0; r < rows; ++r, pairs += row) {
    V factor = by_column ? V::fill(0) : V::broadcast(factors + r * pair_item);
    for (int64_t i = 0; i < count; i += lanes) {
      const auto mask = V::first(static_cast<int>(smaller(lanes, count - i)));
      if (by_column) factor = V::load(factors + i * pair_item, mask);
      P::scale(V::load(pairs + i * pair_item, mask), factor).store(pairs + i * pair_item, mask);
    }
  }
}

}  // namespace
}  // namespace pointwise
