// The register tile, as templates for any vector type V (common.h).
//
// A tile holds its sums in registers: acc[MR][NR], MR rows of NR vectors. The sums begin with the bias, or with the
// sums of an earlier call. Then the products of each input channel are added:
//
//     channel rows:  acc[r][j] += broadcast(weight of output channel r) * x of the pixels of vector j
//     pixel rows:    acc[r][j] += broadcast(x of pixel r) * weights of the output channels of vector j
//
// At the end finish() adds the residual, applies the activation and stores the tile (finish.h).
//
// One function call computes a column, which is a sequence of tiles. With a call for each tile, the CPU would not
// overlap the stores of a tile with the multiply-adds of the next tile. (Zen 5, 16 input channels: a call for each
// column reaches 90% of the peak, a call for each tile 83%.)
//
// The loop over input channels must not spill. The tile needs almost all vector registers, and the addresses need
// almost all general registers. So the operands of the loop are local variables. From some values the compiler would
// compute more addresses and keep them in registers. Empty asm statements hide these values from the compiler. Count
// spills before and after each change, as docs/design/kernels.md shows.
#pragma once

#include "kernels/chunks.h"
#include "kernels/finish.h"

namespace pointwise {
namespace {

// Number of steps in a chunk.
template <class V>
constexpr int64_t chunk_steps = chunk_channels / V::step;

// Adds the products of a step to sums. The kernels of AVX512-BF16 overload this function.
template <class V>
POINTWISE_INLINE V accumulate(V a, V b, V sum) {
  return V::fma(a, b, sum);
}

// The arguments of a column of tiles. Row r of the column is stored at y + r * layout.y_row. Strides are in bytes.
struct Column {
  int64_t input_channels, tiles;
  const char* x;
  ptrdiff_t x_pixel, x_channel;
  const char* weights;
  ptrdiff_t panel;  // stride between panels
  const char* bias;
  const char* sums;  // sums to start from, in place of the bias, or null
  ptrdiff_t sums_row;
  char* y;
  const char* residual;  // or null
  RowLayout layout;
  char* copy;  // for channel rows: null, or memory for a copy of x (NR vectors for each input channel)
  int rows;    // for channel rows: number of rows to store of the last tile, at most MR
  // Number of bytes to prefetch, or 0. Prefetched addresses may be beyond the end of x. In pixel rows, tile k
  // prefetches `fetch` bytes for each pixel of tile k + 2. In channel rows, a column prefetches `fetch` bytes of each
  // input channel for the next column, from `ahead` on. Each tile of the column prefetches a part of the input
  // channels.
  ptrdiff_t fetch;
  const char* ahead;
  ptrdiff_t ahead_channel;  // stride between input channels at `ahead`
  Epilogue epilogue;
};

template <class V, int MR, int NR>
inline void load_sums(const char* sums, ptrdiff_t sums_row, V (&acc)[MR][NR]) {
  asm volatile("" : "+r"(sums_row));  // prevents spills: see Straight::with_rows
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) acc[r][j] = V::load(sums + r * sums_row + j * static_cast<ptrdiff_t>(sizeof(V)));
  }
}

// The lanes in use in the last vector of a row. `whole`: all lanes. `half`: at most half of the lanes, if V has half
// vectors. `part`: any other number of lanes. For `part` and `half`, the vector is loaded with a mask. On half-width
// CPUs the multiply-adds of `half` take half of the time.
enum class Last { whole, part, half };

// Computes a column of channel rows, whose lanes are pixels. If `Copy` is true, also stores the vectors of x
// contiguously at t.copy, for the tiles of other output channels.
template <class V, int MR, int NR, Last L, bool Copy>
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
        __builtin_prefetch(t.ahead + fetched * t.ahead_channel + at, 0, 2);
    V acc[MR][NR];
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      const V start = V::broadcast(bias + r * sizeof(T));
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) acc[r][j] = start;
    }
    Totals<V, MR, NR> totals;
    if (sums) {
      load_sums<V, MR, NR>(sums, sums_row, acc);
      sums += MR * sums_row;
      if (input_channels > 0) totals.end_chunk(acc);
    }
    const char *x = pixels_begin, *w = weights;
    char* copy = copy_begin;
    for (int64_t left = input_channels;;) {
      for (int64_t i = smaller(left, chunk_steps<V>); i > 0; --i) {
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
                                      : accumulate(weight, pixels[j], acc[r][j]);
            else
              acc[r][j] = accumulate(weight, pixels[j], acc[r][j]);
          }
          if (!Copy) POINTWISE_END_ROW;
        }
        x += x_channel;
        w += panel_row;
        if (Copy) copy += NR * vector;
      }
      left -= chunk_steps<V>;
      if (left <= 0) break;
      totals.end_chunk(acc);
    }
    totals.end_sum(acc);
    finish(t.epilogue, acc, Straight<V, NR>{t.layout, y, residual, tile > 1 ? MR : last_rows});
    y += MR * t.layout.y_row;
    if (residual != nullptr) residual += MR * t.layout.residual_row;
    bias += MR * sizeof(T);
    weights += MR * sizeof(T);
    in_panel += MR * sizeof(T);
    if (in_panel == panel_row) {
      in_panel = 0;
      weights += next_panel;
    }
  }
}

// Computes a column of pixel rows, whose lanes are output channels.
//
// Three rows share a pointer, because one x86 address can add 0, 1 or 2 times the stride to the pointer. With a pointer
// for each row, pointers would spill. With one pointer for all rows, the compiler would compute the address of each row
// with an integer multiplication. In tiles of more than 20 rows, even a pointer for three rows would be too many. So
// four rows share a pointer, and `third` holds 3 * stride. (Zen 5, tiles of 28 rows: with a pointer for four rows they
// reach 84% of the peak, with a pointer for three rows 80%.)
template <class V, int MR, int NR>
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
    Totals<V, MR, NR> totals;
    if (sums) {
      load_sums<V, MR, NR>(sums, sums_row, acc);
      sums += MR * sums_row;
      if (input_channels > 0) totals.end_chunk(acc);
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
    for (int64_t left = input_channels;;) {
      for (int64_t i = smaller(left, chunk_steps<V>); i > 0; --i) {
        V channels[NR];
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) channels[j] = V::load(w + (j / per_panel) * panel + (j % per_panel) * vector);
        POINTWISE_UNROLL
        for (int r = 0; r < MR; ++r) {
          const V pixel = V::broadcast(x[r / sharing] + (r % sharing == 3 ? third : (r % sharing) * x_pixel));
          POINTWISE_UNROLL
          for (int j = 0; j < NR; ++j) acc[r][j] = accumulate(pixel, channels[j], acc[r][j]);
        }
        w += panel_row;
        POINTWISE_UNROLL
        for (int p = 0; p < pointers; ++p) x[p] += x_channel;
      }
      left -= chunk_steps<V>;
      if (left <= 0) break;
      totals.end_chunk(acc);
    }
    totals.end_sum(acc);
    finish(t.epilogue, acc, Straight<V, NR>{t.layout, y, residual, MR});
    from += MR * x_pixel;
    y += MR * t.layout.y_row;
    if (residual != nullptr) residual += MR * t.layout.residual_row;
  }
}

}  // namespace
}  // namespace pointwise
