// Computes with int8 weights in float32. The panels of int8 weights have the order of float32 panels (kernel.h): an
// input channel has 16 bytes in a panel.
#pragma once

#include "kernels/chunks.h"

namespace pointwise {
namespace {

// Computes the sums of the output channels of `Panels` panels for one pixel.
template <class V, int Panels>
void int8_sums(const char* weights, ptrdiff_t panel, int64_t input_channels, const char* x, ptrdiff_t x_channel,
               char* sums) {
  constexpr int width = panel_width<typename V::Number>(), per_panel = width / V::lanes, vectors = Panels * per_panel;
  V sum[1][vectors];
  POINTWISE_UNROLL
  for (int j = 0; j < vectors; ++j) sum[0][j] = V::fill(0);
  Totals<V, 1, vectors> totals;
  for (int64_t left = input_channels;;) {
    for (int64_t i = smaller(left, chunk_channels); i > 0; --i) {
      const V pixel = V::broadcast(x);
      POINTWISE_UNROLL
      for (int j = 0; j < vectors; ++j) {
        const char* const from = weights + j / per_panel * panel + j % per_panel * V::lanes;
        sum[0][j] = V::fma(pixel, V::convert(reinterpret_cast<const int8_t*>(from)), sum[0][j]);
      }
      weights += width;
      x += x_channel;
    }
    left -= chunk_channels;
    if (left <= 0) break;
    totals.end_chunk(sum);
  }
  totals.end_sum(sum);
  POINTWISE_UNROLL
  for (int j = 0; j < vectors; ++j) sum[0][j].store(sums + j * static_cast<ptrdiff_t>(sizeof(V)));
}

// Implements KernelTable::multiply_int8.
template <class V>
void multiply_int8(const char* weights, ptrdiff_t panel, int64_t panels, int64_t input_channels, const char* x,
                   ptrdiff_t x_channel, char* sums) {
  constexpr int together = 4;
  for (int64_t p = 0, count; p < panels; p += count) {
    count = panels - p >= together ? together : 1;
    (count == together ? int8_sums<V, together> : int8_sums<V, 1>)(weights + p * panel, panel, input_channels, x,
                                                                   x_channel, sums + p * panel_bytes);
  }
}

// Implements KernelTable::scale_sums.
template <class V>
void scale_sums(char* sums, ptrdiff_t row, int64_t rows, int64_t count, const char* scales, const char* bias,
                bool by_column) {
  constexpr int64_t item = sizeof(typename V::Number), lanes = V::lanes;
  for (int64_t r = 0; r < rows; ++r, sums += row) {
    V scale = by_column ? V::fill(0) : V::broadcast(scales + r * item);
    V start = by_column ? V::fill(0) : V::broadcast(bias + r * item);
    for (int64_t i = 0; i < count; i += lanes) {
      if (by_column) {
        scale = V::load(scales + i * item);
        start = V::load(bias + i * item);
      }
      V::fma(V::load(sums + i * item), scale, start).store(sums + i * item);
    }
  }
}

}  // namespace
}  // namespace pointwise
