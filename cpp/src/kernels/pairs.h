// Pixel rows for channels that leave half a vector or less: 24, 40, 72.
//
// A vector of channels that is half empty wastes a quarter of the multiply-adds of 24 channels. Here two pixels share
// it (halves.h has another way, for CPUs that compute a vector half by half: there the joining below takes as long as a
// multiply-add and a half, 96 -> 24 channels at 56x56 79% of the peak):
//
//                 vector of channels     half a vector, twice
//     pixel A     [ a0 ......... a15 ]   [ a16 .. a23 | b16 .. b23 ]
//     pixel B     [ b0 ......... b15 ]
//
// V has beside what common.h asks for, with half = lanes / 2:
//     twice(p)               half a vector of numbers in both halves
//     join(a, b)             the lower half of a and the upper half of b
//     store_lower(p, mask) store_upper(p, mask)    a half, only the lanes of half_first(n), n at most half
//     load_halves(p, q, mask)                      a half from each, likewise
#pragma once

#include "kernels/halves.h"

namespace pointwise {
namespace {

// `tiles` tiles of Pairs pairs of pixels; t.last channels of the second panel are in use, at most half a vector.
template <class V, int Pairs, bool Residual>
__attribute__((noinline)) void pair_rows_column(const Column& t) {
  using T = typename V::Number;
  constexpr ptrdiff_t vector = sizeof(V), panel_row = 64;
  constexpr int rows = 2 * Pairs, group = 3, pointers = (rows + group - 1) / group;
  static_assert(panel_width<T>() == V::lanes, "a vector is a panel");
  const int64_t input_channels = t.input_channels;
  const ptrdiff_t x_pixel = t.x_pixel, x_channel = t.x_channel, panel = t.panel;
  const char *from = t.x, *residual = t.residual, *const weights = t.weights, *const bias = t.bias;
  char* y = t.y;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    V whole[rows], shared[Pairs];
    const V start = V::load(bias), start_shared = V::twice(bias + vector);
    POINTWISE_UNROLL
    for (int r = 0; r < rows; ++r) whole[r] = start;
    POINTWISE_UNROLL
    for (int p = 0; p < Pairs; ++p) shared[p] = start_shared;
    const char *x[pointers], *w = weights;
    POINTWISE_UNROLL
    for (int p = 0; p < pointers; ++p) {
      x[p] = from + group * p * x_pixel;
      asm("" : "+r"(x[p]));
    }
    for (int64_t i = input_channels; i > 0; --i) {
      const V channels = V::load(w), half = V::twice(w + panel);
      POINTWISE_UNROLL
      for (int p = 0; p < Pairs; ++p) {
        const int r = 2 * p, s = 2 * p + 1;
        const V a = V::broadcast(x[r / group] + r % group * x_pixel),
                b = V::broadcast(x[s / group] + s % group * x_pixel);
        whole[r] = V::fma(a, channels, whole[r]);
        whole[s] = V::fma(b, channels, whole[s]);
        shared[p] = V::fma(V::join(a, b), half, shared[p]);
      }
      w += panel_row;
      POINTWISE_UNROLL
      for (int p = 0; p < pointers; ++p) x[p] += x_channel;
    }
    ptrdiff_t y_row = t.y_row, residual_row = t.residual_row;
    asm volatile("" : "+r"(y_row));
    if (Residual) asm volatile("" : "+r"(residual_row));
    const V floor = V::broadcast(t.epilogue.floor.address());
    const auto mask = V::half_first(t.last);
    if (Residual) {
      POINTWISE_UNROLL
      for (int p = 0; p < Pairs; ++p) {
        whole[2 * p] = V::add(whole[2 * p], V::load(residual));
        whole[2 * p + 1] = V::add(whole[2 * p + 1], V::load(residual + residual_row));
        shared[p] = V::add(shared[p], V::load_halves(residual + vector, residual + residual_row + vector, mask));
        residual += 2 * residual_row;
      }
    }
    if (t.epilogue.activate) {
      V done[rows + Pairs];
      POINTWISE_UNROLL
      for (int r = 0; r < rows; ++r) done[r] = whole[r];
      POINTWISE_UNROLL
      for (int p = 0; p < Pairs; ++p) done[rows + p] = shared[p];
      char* const numbers = reinterpret_cast<char*>(done);
      t.epilogue.activate(t.epilogue.parameters, numbers, rows + Pairs, numbers, rows + Pairs, 0);
      POINTWISE_UNROLL
      for (int r = 0; r < rows; ++r) whole[r] = done[r];
      POINTWISE_UNROLL
      for (int p = 0; p < Pairs; ++p) shared[p] = done[rows + p];
    }
    POINTWISE_UNROLL
    for (int p = 0; p < Pairs; ++p) {
      const V v = V::max(floor, shared[p]);
      V::max(floor, whole[2 * p]).store(y);
      v.store_lower(y + vector, mask);
      y += y_row;
      V::max(floor, whole[2 * p + 1]).store(y);
      v.store_upper(y + vector, mask);
      y += y_row;
    }
    from += rows * x_pixel;
  }
}

// The last panel and the half behind it as pairs; what is before them, and the pixels behind the last tile, as ordinary
// pixel rows.
template <class V, int Pairs>
void run_pair_rows(const Block& b) {
  constexpr int rows = 2 * Pairs;
  const int64_t tiles = b.pixels / rows, tail = b.pixels - tiles * rows;
  BlockRunner<V, rows, 1, Rows::pixels> runner(b);
  if (!leaves_half<V>(b) || b.channels < V::lanes || !runner.direct || b.sums != nullptr || tiles == 0) {
    run_pixel_rows<V, 12, 2>(b);
    return;
  }
  const int64_t before = run_first_vectors<V>(b, b.channels / V::lanes - 1);
  const Column t = runner.column(0, before, tiles, rows, static_cast<int>(b.channels % V::lanes), 0);
  (b.residual ? pair_rows_column<V, Pairs, true> : pair_rows_column<V, Pairs, false>)(t);
  if (tail > 0) run_pixel_rows<V, 12, 2>(part_of<V>(b, tiles * rows, tail, before, b.channels - before));
}

}  // namespace
}  // namespace pointwise
