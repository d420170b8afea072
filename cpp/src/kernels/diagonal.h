// Computes diagonal products: y = act(weight * x + bias + residual), with one weight for each channel. Each group of
// such a product has one input channel and one output channel. A kernel call takes the groups as channels, so channel c
// of y depends only on channel c of x.
//
// Each panel holds a single output channel. So the weights of neighbouring channels are Block::panel bytes apart, and
// their biases are panel_bytes apart.
#pragma once

#include "kernels/few_outputs.h"
#include "kernels/strip.h"

namespace pointwise {
namespace {

// The size of a part of a block: at most `diagonal_rows` rows of `diagonal_lanes` lanes.
constexpr int diagonal_rows = 16, diagonal_lanes = 128;

// Computes `rows` rows of `lanes` sums and stores them in `sums`. If R is Rows::channels, each row has its own weight
// and bias. If R is Rows::pixels, each lane has its own weight and bias. In x, rows are x_row bytes apart and lanes are
// x_lane bytes apart.
template <class V, Rows R>
void diagonal_sums(const char* x, ptrdiff_t x_row, ptrdiff_t x_lane, int rows, int lanes,
                   const typename V::Number* weights, const typename V::Number* biases, typename V::Number* sums) {
  using T = typename V::Number;
  const auto at = [](auto* numbers, int i) { return reinterpret_cast<const char*>(numbers + i); };
  const bool contiguous = x_lane == static_cast<ptrdiff_t>(sizeof(T));
  for (int r = 0; r < rows; ++r) {
    T* const to = sums + r * diagonal_lanes;
    const char* const from = x + r * x_row;
    if (!contiguous)
      for (int i = 0; i < lanes; ++i) to[i] = read<T>(from + i * x_lane);
    const V weight = V::broadcast(at(weights, r)), bias = V::broadcast(at(biases, r));
    for (int i = 0; i < lanes; i += V::lanes) {
      const char* const number = contiguous ? from + i * sizeof(T) : at(to, i);
      const V v = lanes - i >= V::lanes ? V::load(number) : V::load(number, V::first(lanes - i));
      const V sum =
          R == Rows::channels ? V::fma(weight, v, bias) : V::fma(V::load(at(weights, i)), v, V::load(at(biases, i)));
      sum.store(reinterpret_cast<char*>(to + i));
    }
  }
}

// Computes a block in parts. Lanes are pixels if pixels of x are contiguous, else channels.
template <class V, Rows R>
void diagonal_parts(const Block& b) {
  using T = typename V::Number;
  constexpr bool of_channels = R == Rows::channels;
  constexpr int most_channels = of_channels ? diagonal_rows : diagonal_lanes;
  constexpr int most_pixels = of_channels ? diagonal_lanes : diagonal_rows;
  alignas(64) T sums[diagonal_rows * diagonal_lanes], weights[diagonal_lanes] = {}, biases[diagonal_lanes] = {};
  for (int64_t c = 0; c < b.channels; c += most_channels) {
    const int channels = static_cast<int>(smaller(most_channels, b.channels - c));
    for (int i = 0; i < channels; ++i) {
      weights[i] = read<T>(b.weights + (c + i) * b.panel);
      biases[i] = read<T>(b.bias + (c + i) * panel_bytes);
    }
    for (int64_t p = 0; p < b.pixels; p += most_pixels) {
      const int pixels = static_cast<int>(smaller(most_pixels, b.pixels - p));
      const char* const x = b.x + p * b.x_pixel + c * b.x_channel;
      if (of_channels)
        diagonal_sums<V, R>(x, b.x_channel, b.x_pixel, channels, pixels, weights, biases, sums);
      else
        diagonal_sums<V, R>(x, b.x_pixel, b.x_channel, pixels, channels, weights, biases, sums);
      finish_strip<V, R>(b, sums, diagonal_lanes, p, pixels, c, channels);
    }
  }
}

// Computes a block.
template <class V>
void run_diagonal(const Block& b) {
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  if (b.x_pixel == item && b.x_channel != item)
    diagonal_parts<V, Rows::channels>(b);
  else
    diagonal_parts<V, Rows::pixels>(b);
  if (b.stream) V::fence();
}

}  // namespace
}  // namespace pointwise
