// The register tile, written once over a vector type V.
#pragma once

#include "kernels/finish.h"

namespace pointwise {
namespace {

// A column of register tiles, one below the other. Row r is contiguous at y + r * layout.y_row.
//
// The loop over the tiles is inside the function that computes one: with a call for each tile, the CPU does not overlap
// the stores of a tile with the multiply-adds of the next one (16 input channels: 83 -> 90% of the peak; 64: 95 ->
// 97%).
struct Column {
  int64_t input_channels, tiles;
  const char* x;
  ptrdiff_t x_pixel, x_channel;
  const char* weights;
  ptrdiff_t panel;  // bytes from one panel to the next
  const char* bias;
  const char* sums;  // in place of the bias, or null
  ptrdiff_t sums_row;
  char* y;
  const char* residual;  // or null
  RowLayout layout;
  char* copy;  // where a tile of channel rows puts its vectors of x, NR of each input channel: or null
  int rows;    // rows to store of the last tile: at most MR
  // Bytes of x that are fetched ahead, maybe beyond its end: of each pixel two tiles below, its channels; or of each
  // input channel, the pixels of the next column, by all tiles of this one together. 0 where none are.
  ptrdiff_t fetch;
  Epilogue epilogue;
};

template <class V, int MR, int NR>
inline void load_sums(const char* sums, ptrdiff_t sums_row, V (&acc)[MR][NR]) {
  asm volatile("" : "+r"(sums_row));  // see Straight
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) acc[r][j] = V::load(sums + r * sums_row + j * static_cast<ptrdiff_t>(sizeof(V)));
  }
}

// How much of the last vector of a row is used: all of it, a part, or half of it at most. A part is loaded with a mask;
// multiply-adds of a half take half the time where CPUs compute 64-byte vectors half by half.
enum class Last { whole, part, half };

// Rows are output channels, lanes are pixels. Copy: the vectors of x are stored to t.copy, side by side, for the tiles
// of other output channels to read.
template <class V, int MR, int NR, bool Residual, Last L, bool Copy>
__attribute__((noinline)) void channel_rows_column(const Column& t) {
  using T = typename V::Number;
  constexpr ptrdiff_t vector = V::lanes * sizeof(T), panel_row = 64;
  const auto mask = V::first(t.layout.last);
  const int64_t input_channels = t.input_channels;
  const ptrdiff_t x_channel = t.x_channel, sums_row = t.sums_row, next_panel = t.panel - panel_row;
  const int last_rows = t.rows;
  const char *const pixels_begin = t.x, *bias = t.bias, *sums = t.sums, *residual = t.residual, *weights = t.weights;
  char *y = t.y, *const copy_begin = t.copy;
  int in_panel = static_cast<int>(reinterpret_cast<uintptr_t>(weights) % panel_row);
  const int64_t fetched_a_tile = t.fetch > 0 ? ceil_div(input_channels, t.tiles) : 0;
  int64_t fetched = 0;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    for (const int64_t stop = smaller(fetched + fetched_a_tile, input_channels); fetched < stop; ++fetched)
      for (ptrdiff_t at = 0; at <= t.fetch; at += 64)
        __builtin_prefetch(pixels_begin + fetched * x_channel + NR * vector + at, 0, 2);
    V acc[MR][NR];
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      const V start = V::broadcast(bias + r * sizeof(T));
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) acc[r][j] = start;
    }
    if (sums) {
      load_sums<V, MR, NR>(sums, sums_row, acc);
      sums += MR * sums_row;
    }
    const char *x = pixels_begin, *w = weights;
    char* copy = copy_begin;
    for (int64_t i = input_channels; i > 0; --i) {
      V pixels[NR];
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) {
        pixels[j] = L != Last::whole && j == NR - 1 ? V::load(x + j * vector, mask) : V::load(x + j * vector);
        if (Copy) pixels[j].store(copy + j * vector);
      }
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        const V weight = V::broadcast(w + r * sizeof(T));
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) {
          if constexpr (L == Last::half)
            acc[r][j] = j == NR - 1 ? V::fma_half(w + r * sizeof(T), pixels[j], acc[r][j])
                                    : V::fma(weight, pixels[j], acc[r][j]);
          else
            acc[r][j] = V::fma(weight, pixels[j], acc[r][j]);
        }
      }
      x += x_channel;
      w += panel_row;
      if (Copy) copy += NR * vector;
    }
    finish<Residual>(t.epilogue, acc, Straight<V, NR>{t.layout, y, residual, tile > 1 ? MR : last_rows});
    y += MR * t.layout.y_row;
    if (Residual) residual += MR * t.layout.residual_row;
    bias += MR * sizeof(T);
    weights += MR * sizeof(T);
    in_panel += MR * sizeof(T);
    if (in_panel == panel_row) {
      in_panel = 0;
      weights += next_panel;
    }
  }
}

// Rows are pixels, lanes are output channels. Three rows share a pointer (x, x + stride, x + 2 stride are addresses
// that the CPU forms by itself): one pointer a row would spill, and one for all makes the compiler multiply. Tall tiles
// have no register for so many pointers: there a fourth row adds 3 stride from one (28 rows: 80 -> 84% of the peak).
template <class V, int MR, int NR, bool Residual>
__attribute__((noinline)) void pixel_rows_column(const Column& t) {
  using T = typename V::Number;
  constexpr ptrdiff_t vector = V::lanes * sizeof(T), panel_row = 64;
  constexpr int sharing = MR > 20 ? 4 : 3;
  constexpr int per_panel = panel_width<T>() / V::lanes, pointers = (MR + sharing - 1) / sharing;
  const int64_t input_channels = t.input_channels;
  const ptrdiff_t x_pixel = t.x_pixel, x_channel = t.x_channel, sums_row = t.sums_row, panel = t.panel, fetch = t.fetch;
  const char *from = t.x, *sums = t.sums, *residual = t.residual, *const weights = t.weights, *const bias = t.bias;
  char* y = t.y;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    V acc[MR][NR];
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) {
      const V start = V::load(bias + j * vector);
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) acc[r][j] = start;
    }
    if (sums) {
      load_sums<V, MR, NR>(sums, sums_row, acc);
      sums += MR * sums_row;
    }
    if (fetch > 0) {
      for (int r = 2 * MR; r < 3 * MR; ++r)
        for (ptrdiff_t at = 0; at < fetch; at += 64) __builtin_prefetch(from + r * x_pixel + at);
    }
    const char *x[pointers], *w = weights;
    POINTWISE_UNROLL
    for (int p = 0; p < pointers; ++p) {
      x[p] = from + sharing * p * x_pixel;
      asm("" : "+r"(x[p]));
    }
    ptrdiff_t third = 3 * x_pixel;
    asm("" : "+r"(third));
    for (int64_t i = input_channels; i > 0; --i) {
      V channels[NR];
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) channels[j] = V::load(w + (j / per_panel) * panel + (j % per_panel) * vector);
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        const V pixel = V::broadcast(x[r / sharing] + (r % sharing == 3 ? third : (r % sharing) * x_pixel));
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) acc[r][j] = V::fma(pixel, channels[j], acc[r][j]);
      }
      w += panel_row;
      POINTWISE_UNROLL
      for (int p = 0; p < pointers; ++p) x[p] += x_channel;
    }
    finish<Residual>(t.epilogue, acc, Straight<V, NR>{t.layout, y, residual, MR});
    from += MR * x_pixel;
    y += MR * t.layout.y_row;
    if (Residual) residual += MR * t.layout.residual_row;
  }
}

}  // namespace
}  // namespace pointwise
