// Computes products whose last vector of output channels is at most half full and follows a whole vector, with pixel
// rows. If a vector has 16 lanes, such products have 17 to 24 or 33 to 40 output channels, for example.
//
// With 24 channels, a half-empty vector wastes a quarter of the multiply-adds. In the tiles of this file, two pixels
// share the last vector. Two such pixels are a pair. A pair has one and a half vectors of output channels for each
// pixel, in three accumulators:
//
//                 vector of channels     half vector, twice
//     pixel A     [ a0 ......... a15 ]   [ a16 .. a23 | b16 .. b23 ]
//     pixel B     [ b0 ......... b15 ]
//
// For each input channel, join() puts the numbers of both pixels into one vector. A half-width CPU computes a 64-byte
// vector in two halves, as Zen 4 does. On such CPUs pairs save no time, because join() takes as long as one and a half
// multiply-adds. (Zen 4, 96 -> 24 channels at 56x56 in NHWC: pairs reach only 79% of the peak.) Halves (halves.h) save
// time on such CPUs.
//
// V needs these functions in addition to those in common.h and halves.h:
//     twice(p)                                     loads a half vector into both halves
//     join(a, b)                                   the lower half of a and the upper half of b
//     store_lower(p, mask)  store_upper(p, mask)   stores the lanes of a half, mask = Half::first(n)
//     load_halves(p, q, mask)                      loads the lower half from p and the upper half from q
//
// To save registers, several rows share one pointer, as in pixel_rows_column (tile.h). Empty asm statements hide values
// from the compiler for the same reason.
#pragma once

#include "kernels/halves.h"

namespace pointwise {
namespace {

// A row of the place `Paired` (below). A row has three vectors: one of pixel A, one of pixel B, and one that both
// pixels share.
template <class V>
struct PairedRow {
  static constexpr ptrdiff_t vector = sizeof(V);
  char* y;
  ptrdiff_t y_row;  // bytes from pixel to pixel
  const char* residual;
  ptrdiff_t residual_row;
  decltype(V::Half::first(0)) mask;

  bool has(int) const { return true; }
  V residual_at(int j) const {
    if (j < 2) return V::load(residual + j * residual_row);
    return V::load_halves(residual + vector, residual + residual_row + vector, mask);
  }
  void store(int j, V v) const {
    if (j < 2) {
      v.store(y + j * y_row);
    } else {
      v.store_lower(y + vector, mask);
      v.store_upper(y + y_row + vector, mask);
    }
  }
  void next() {
    y += 2 * y_row;
    residual += 2 * residual_row;
  }
};

// A place (finish.h) whose rows are pairs of pixels.
template <class V>
struct Paired {
  const RowLayout& layout;
  char* y;
  const char* residual;
  int rows;

  char* own_rows() const { return nullptr; }
  template <class F>
  POINTWISE_INLINE void with_rows(bool, const F& f) const {
    ptrdiff_t y_row = layout.y_row;
    asm volatile("" : "+r"(y_row));  // prevents spills: see Straight::with_rows
    f(PairedRow<V>{y, y_row, nullptr, 0, V::Half::first(layout.last)});
  }
  template <class F>
  POINTWISE_INLINE void with_residual(bool, const F& f) const {
    ptrdiff_t residual_row = layout.residual_row;
    asm volatile("" : "+r"(residual_row));
    f(PairedRow<V>{y, 0, residual, residual_row, V::Half::first(layout.last)});
  }
};

// Computes a column of tiles. A tile has `Pairs` pairs. All channels of the first panel are in use. In the second panel
// t.layout.last channels are in use, at most half a vector.
template <class V, int Pairs>
__attribute__((noinline)) void pair_rows_column(const Column& t) {
  using T = typename V::Number;
  constexpr ptrdiff_t vector = sizeof(V), panel_row = 64;
  constexpr int rows = 2 * Pairs, sharing = 3, pointers = (rows + sharing - 1) / sharing;
  static_assert(panel_width<T>() == V::lanes, "a vector is a panel");
  const int64_t input_channels = t.input_channels;
  const ptrdiff_t x_pixel = t.x_pixel, x_channel = t.x_channel, panel = t.panel;
  const char *from = t.x, *residual = t.residual, *const weights = t.weights, *const bias = t.bias;
  char* y = t.y;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    V sums[Pairs][3];  // sums of pixel A, of pixel B, and of both pixels
    Totals<V, Pairs, 3> totals;
    const V start = V::load(bias), start_shared = V::twice(bias + vector);
    POINTWISE_UNROLL
    for (int p = 0; p < Pairs; ++p) {
      sums[p][0] = sums[p][1] = start;
      sums[p][2] = start_shared;
    }
    const char *x[pointers], *w = weights;
    POINTWISE_UNROLL
    for (int p = 0; p < pointers; ++p) {
      x[p] = from + sharing * p * x_pixel;
      asm("" : "+r"(x[p]));
    }
    for (int64_t left = input_channels;;) {
      for (int64_t i = smaller(left, chunk_channels); i > 0; --i) {
        const V channels = V::load(w), half = V::twice(w + panel);
        POINTWISE_UNROLL
        for (int p = 0; p < Pairs; ++p) {
          const int r = 2 * p, s = 2 * p + 1;
          const V a = V::broadcast(x[r / sharing] + r % sharing * x_pixel),
                  b = V::broadcast(x[s / sharing] + s % sharing * x_pixel);
          sums[p][0] = V::fma(a, channels, sums[p][0]);
          sums[p][1] = V::fma(b, channels, sums[p][1]);
          sums[p][2] = V::fma(V::join(a, b), half, sums[p][2]);
        }
        w += panel_row;
        POINTWISE_UNROLL
        for (int p = 0; p < pointers; ++p) x[p] += x_channel;
      }
      left -= chunk_channels;
      if (left <= 0) break;
      totals.end_chunk(sums);
    }
    totals.end_sum(sums);
    finish(t.epilogue, sums, Paired<V>{t.layout, y, residual, Pairs});
    y += rows * t.layout.y_row;
    if (residual != nullptr) residual += rows * t.layout.residual_row;
    from += rows * x_pixel;
  }
}

// Computes a block. Pairs compute the last whole vector and the half vector that follows it. Ordinary pixel rows
// compute all earlier vectors, and the pixels after the last whole tile. Ordinary pixel rows compute the complete block
// if it has no half vector, if its results are indirect, or if it starts from earlier sums.
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
  pair_rows_column<V, Pairs>(t);
  if (tail > 0) run_pixel_rows<V, 12, 2>(part_of<V>(b, tiles * rows, tail, before, b.channels - before));
}

}  // namespace
}  // namespace pointwise
