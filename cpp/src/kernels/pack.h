// Pixels and weights into panels, and what is done to panels.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// A square of `lanes` pixels and as many channels.
template <class V>
inline void pack_square(const char* x, const ptrdiff_t* offsets, bool even, char* to, ptrdiff_t to_channel) {
  V v[V::lanes];
  if (even) {
    V::load_square(x + offsets[0], offsets[1] - offsets[0], v);
  } else {
    POINTWISE_UNROLL
    for (int k = 0; k < V::lanes; ++k) v[k] = V::load(x + offsets[k]);
    V::transpose(v);
  }
  POINTWISE_UNROLL
  for (int k = 0; k < V::lanes; ++k) v[k].store(to + k * to_channel);
}

// Packs pixels whose channels lie side by side: squares of them are transposed in registers. The last squares begin
// earlier where there are numbers enough, and write some again.
template <class V>
void pack_channels_last(const char* x, const ptrdiff_t* offsets, int64_t pixels, int64_t channels, char* to,
                        ptrdiff_t to_channel) {
  constexpr int lanes = V::lanes;
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  const bool whole = pixels >= lanes && channels >= lanes;
  for (int64_t p = 0; p < pixels; p += lanes) {
    if (whole) {
      const int64_t first = smaller(p, pixels - lanes);
      const ptrdiff_t* at = offsets + first;
      bool even = true;
      for (int k = 2; k < lanes; ++k) even &= at[k] - at[k - 1] == at[1] - at[0];
      for (int64_t c = 0; c < channels; c += lanes) {
        const int64_t channel = smaller(c, channels - lanes);
        pack_square<V>(x + channel * item, at, even, to + channel * to_channel + first * item, to_channel);
      }
      continue;
    }
    const int rows = static_cast<int>(smaller(lanes, pixels - p));
    for (int64_t c = 0; c < channels; c += lanes) {
      const int columns = static_cast<int>(smaller(lanes, channels - c));
      V v[lanes];
      const auto in = V::first(columns), out = V::first(rows);
      for (int k = 0; k < lanes; ++k) v[k] = k < rows ? V::load(x + offsets[p + k] + c * item, in) : V::fill(0);
      V::transpose(v);
      char* at = to + c * to_channel + p * item;
      for (int k = 0; k < columns; ++k) v[k].store(at + k * to_channel, out);
    }
  }
}

// See KernelTable::scale.
template <class V>
void scale_numbers(char* numbers, ptrdiff_t row, int64_t rows, int64_t count, const char* factors, bool by_column) {
  constexpr int64_t item = sizeof(typename V::Number), lanes = V::lanes;
  for (int64_t r = 0; r < rows; ++r, numbers += row) {
    V factor = by_column ? V::fill(0) : V::broadcast(factors + r * item);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      if (by_column) factor = V::load(factors + i * item);
      V::mul(V::load(numbers + i * item), factor).store(numbers + i * item);
    }
    if (i == count) continue;
    const auto mask = V::first(static_cast<int>(count - i));
    if (by_column) factor = V::load(factors + i * item, mask);
    V::mul(V::load(numbers + i * item, mask), factor).store(numbers + i * item, mask);
  }
}

// See KernelTable::pack. Runs of pixels that lie side by side, or every second one, are found once for all channels.
template <class V>
void pack_pixels(const char* x, ptrdiff_t x_channel, const ptrdiff_t* offsets, int64_t pixels, int64_t channels,
                 char* to, ptrdiff_t to_channel) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T);
  if (x_channel == item && channels > 1) {
    pack_channels_last<V>(x, offsets, pixels, channels, to, to_channel);
    return;
  }
  for (int64_t begin = 0, end; begin < pixels; begin = end) {
    const ptrdiff_t step = begin + 1 < pixels ? offsets[begin + 1] - offsets[begin] : item;
    end = begin + 1;
    while (end < pixels && offsets[end] - offsets[end - 1] == step) ++end;
    const char* from = x + offsets[begin];
    char* row = to + begin * item;
    const int64_t count = end - begin;
    for (int64_t c = 0; c < channels; ++c, from += x_channel, row += to_channel) {
      if (step == item) {
        for (int64_t i = 0; i < count; ++i) __builtin_memcpy(row + i * item, from + i * item, sizeof(T));
      } else if (step == 2 * item) {
        for (int64_t i = 0; i < count; ++i) __builtin_memcpy(row + i * item, from + i * 2 * item, sizeof(T));
      } else {
        for (int64_t i = 0; i < count; ++i) __builtin_memcpy(row + i * item, from + i * step, sizeof(T));
      }
    }
  }
}

// See KernelTable::pack_weights. Squares of weights are transposed in registers.
template <class V>
void pack_weights_panel(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels,
                        typename V::Number* panel) {
  using T = typename V::Number;
  constexpr int width = panel_width<T>(), lanes = V::lanes;
  for (int64_t i = 0; i < input_channels; i += lanes) {
    const int inputs = static_cast<int>(smaller(lanes, input_channels - i));
    const auto mask = V::first(inputs);
    for (int c = 0; c < width; c += lanes) {
      const char* from = weights + i * static_cast<ptrdiff_t>(sizeof(T));
      V v[lanes];
      if (inputs == lanes && c + lanes <= channels) {
        V::load_square(from + c * step, step, v);
      } else {
        for (int k = 0; k < lanes; ++k) v[k] = c + k < channels ? V::load(from + (c + k) * step, mask) : V::fill(0);
        V::transpose(v);
      }
      char* to = reinterpret_cast<char*>(panel + i * width + c);
      if (inputs == lanes) {
        POINTWISE_UNROLL
        for (int k = 0; k < lanes; ++k) v[k].store(to + k * 64);
      } else {
        for (int k = 0; k < inputs; ++k) v[k].store(to + k * 64);
      }
    }
  }
}

}  // namespace
}  // namespace pointwise
