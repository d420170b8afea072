// Computes products whose last vector of output channels is at most half full, with pixel rows. If a vector has 16
// lanes, such products have 1 to 8, 17 to 24 or 33 to 40 output channels, for example.
//
// For each of its pixels, a tile computes one half vector and at most two whole vectors of output channels. For 24
// channels:
//
//                 vector of channels     half vector
//     pixel A     [ a0 ......... a15 ]   [ a16 .. a23 ]
//     pixel B     [ b0 ......... b15 ]   [ b16 .. b23 ]
//     ...
//
// Half-width CPUs compute the half vector in half of the time. On other CPUs, halves save no time. There, pairs
// (pairs.h) save time.
//
// In addition to the functions in common.h, V needs a type Half with half of the lanes. V::widen(half) returns a V
// whose upper lanes are zeros. Half has lanes, fill(number), broadcast(p), load(p), store(p), first(n), store(p, mask),
// add(a, b), max(a, b) and fma(a, b, c).
//
// To save registers, several rows share one pointer, as in pixel_rows_column (tile.h). Empty asm statements hide values
// from the compiler for the same reason.
#pragma once

#include "kernels/block.h"
#include "kernels/half_rows.h"

namespace pointwise {
namespace {

// Returns true if the last vector of output channels is at most half full.
template <class V>
bool leaves_half(const Block& b) {
  const int64_t rest = b.channels % V::lanes;
  return rest > 0 && rest <= V::lanes / 2;
}

// Returns the block of a rectangle within a block. The first channel of the rectangle must be the first channel of a
// panel.
template <class V>
Block part_of(const Block& b, int64_t pixel, int64_t pixels, int64_t channel, int64_t channels) {
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  Block part = b;
  part.pixels = pixels;
  part.channels = channels;
  part.x += pixel * b.x_pixel;
  part.weights = b.weights + channel / panel_width<typename V::Number>() * b.panel;
  part.bias += channel * item;
  part.y += pixel * b.y_pixel + channel * item;
  if (b.residual) part.residual += pixel * b.residual_pixel + channel * item;
  return part;
}

// Computes the first `vectors` whole vectors of output channels with ordinary pixel rows. Returns the number of
// computed channels.
template <class V>
int64_t run_first_vectors(const Block& b, int64_t vectors) {
  const int64_t channels = vectors * V::lanes;
  if (vectors > 0)
    (vectors == 1   ? run_pixel_rows<V, 28, 1>
     : vectors == 2 ? run_pixel_rows<V, 12, 2>
                    : run_pixel_rows<V, 6, 4>)(part_of<V>(b, 0, b.pixels, 0, channels));
  return channels;
}

// Computes a column of tiles of MR pixels. A tile has `Whole` whole vectors of output channels, 0 to 2. A half vector
// with t.layout.last further channels follows these vectors.
template <class V, int MR, int Whole>
__attribute__((noinline)) void half_rows_column(const Column& t) {
  using Half = typename V::Half;
  constexpr ptrdiff_t vector = sizeof(V), panel_row = 64;
  constexpr int sharing = MR > 20 ? 4 : 3, pointers = (MR + sharing - 1) / sharing;  // as in pixel_rows_column
  static_assert(panel_width<typename V::Number>() == V::lanes, "a panel is one vector wide");
  const int64_t input_channels = t.input_channels;
  const ptrdiff_t x_pixel = t.x_pixel, x_channel = t.x_channel, panel = t.panel;
  const char *from = t.x, *residual = t.residual, *const weights = t.weights, *const bias = t.bias;
  char* y = t.y;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    V acc[MR][Whole > 0 ? Whole : 1];
    Half half[MR][1];
    Totals<V, MR, (Whole > 0 ? Whole : 1)> totals;
    Totals<Half, MR, 1> half_totals;
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      for (int j = 0; j < Whole; ++j) acc[r][j] = V::load(bias + j * vector);
      half[r][0] = Half::load(bias + Whole * vector);
    }
    const char *x[pointers], *w = weights;
    POINTWISE_UNROLL
    for (int p = 0; p < pointers; ++p) {
      x[p] = from + sharing * p * x_pixel;
      asm("" : "+r"(x[p]));
    }
    ptrdiff_t third = sharing > 3 ? 3 * x_pixel : 0;
    if (sharing > 3) asm("" : "+r"(third));
    for (int64_t left = input_channels;;) {
      for (int64_t i = smaller(left, chunk_channels); i > 0; --i) {
        V channels[Whole + 1];
        POINTWISE_UNROLL
        for (int j = 0; j < Whole; ++j) channels[j] = V::load(w + j * panel);
        const Half rest = Half::load(w + Whole * panel);
        POINTWISE_UNROLL
        for (int r = 0; r < MR; ++r) {
          const char* const from_x = x[r / sharing] + (r % sharing == 3 ? third : r % sharing * x_pixel);
          POINTWISE_UNROLL
          for (int j = 0; j < Whole; ++j) acc[r][j] = V::fma(V::broadcast(from_x), channels[j], acc[r][j]);
          asm volatile("" ::: "memory");  // makes the next line load the pixel again: see fma_half() in avx512_f32.cpp
          half[r][0] = Half::fma(Half::broadcast(from_x), rest, half[r][0]);
        }
        w += panel_row;
        POINTWISE_UNROLL
        for (int p = 0; p < pointers; ++p) x[p] += x_channel;
      }
      left -= chunk_channels;
      if (left <= 0) break;
      if constexpr (Whole > 0) totals.end_chunk(acc);
      half_totals.end_chunk(half);
    }
    if constexpr (Whole > 0) totals.end_sum(acc);
    half_totals.end_sum(half);
    if (residual != nullptr || t.epilogue.activate != nullptr) {
      V sums[MR][Whole + 1];
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        POINTWISE_UNROLL
        for (int j = 0; j < Whole; ++j) sums[r][j] = acc[r][j];
        sums[r][Whole] = V::widen(half[r][0]);
      }
      finish(t.epilogue, sums, Straight<V, Whole + 1>{t.layout, y, residual, MR});
    } else {  // a store with a mask for a half vector is faster
      const RowLayout whole = {t.layout.y_row, 0, V::lanes, false}, last = {t.layout.y_row, 0, t.layout.last, false};
      if constexpr (Whole > 0) store_tile(t.epilogue, acc, Straight<V, Whole>{whole, y, nullptr, MR});
      store_tile(t.epilogue, half, Straight<Half, 1>{last, y + Whole * vector, nullptr, MR});
    }
    y += MR * t.layout.y_row;
    from += MR * x_pixel;
    if (residual != nullptr) residual += MR * t.layout.residual_row;
  }
}

// The functions of columns with half vectors. f[rows - 1] is the function for tiles of `rows` pixels.
template <class V, int MR, int Whole>
struct HalfRowColumns {
  ColumnFunction f[MR];
  constexpr HalfRowColumns() : f() { fill<MR>(); }
  template <int M>
  constexpr void fill() {
    f[M - 1] = half_rows_column<V, M, Whole>;
    if constexpr (M > 1) fill<M - 1>();
  }
};

// The functions of columns for 0, 1 and 2 whole vectors in a tile.
template <class V>
struct HalfRowTables {
  HalfRowColumns<V, half_tile_height(0), 0> alone;
  HalfRowColumns<V, half_tile_height(1), 1> beside_one;
  HalfRowColumns<V, half_tile_height(2), 2> beside_two;
  const ColumnFunction* beside(int64_t vectors) const {
    return vectors == 0 ? alone.f : vectors == 1 ? beside_one.f : beside_two.f;
  }
};

// Computes a block. If there are whole vectors, the last one or two share tiles with the half vector. Ordinary pixel
// rows compute all earlier vectors. Ordinary pixel rows compute the complete block if it has no half vector, if its
// results are indirect, or if it starts from earlier sums.
template <class V>
void run_half_rows(const Block& b) {
  static constexpr HalfRowTables<V> tables;
  BlockRunner<V, 12, 1, Rows::pixels> runner(b);
  if (!leaves_half<V>(b) || !runner.direct || b.sums != nullptr) {
    run_pixel_rows<V, 12, 2>(b);
    return;
  }
  const int64_t vectors = b.channels / V::lanes, whole = vectors_beside_half(vectors);
  const int64_t before = run_first_vectors<V>(b, vectors - whole), most = half_tile_height(whole);
  const auto* f = tables.beside(whole);
  const int last = static_cast<int>(b.channels % V::lanes);
  // Each tile has `height` pixels, but the first tiles have one more. `larger` is the number of these first tiles.
  const int64_t tiles = ceil_div(b.pixels, most), height = b.pixels / tiles, larger = b.pixels % tiles;
  if (larger > 0) f[height](runner.column(0, before, larger, static_cast<int>(height + 1), last, 0));
  f[height - 1](runner.column(larger * (height + 1), before, tiles - larger, static_cast<int>(height), last, 0));
}

}  // namespace
}  // namespace pointwise
