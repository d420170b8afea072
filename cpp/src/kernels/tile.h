// The register tile, written once over a vector type V.
#pragma once

#include "kernels/activations.h"

namespace pointwise {
namespace {

// A column of register tiles, one below the other. The lanes of a row are stored side by side at y + row * y_row.
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
  ptrdiff_t y_row;
  const char* residual;  // or null
  ptrdiff_t residual_row;
  char* copy;  // where a tile of channel rows puts its vectors of x, NR of each input channel: or null
  int rows;    // rows to store of the last tile: at most MR
  int last;    // lanes in use in the last vector of a row
  bool stream;
  // Bytes of x that are fetched ahead, maybe beyond its end: of each pixel two tiles below, its channels; or of each
  // input channel, the pixels of the next column, by all tiles of this one together. 0 where none are.
  ptrdiff_t fetch;
  Epilogue epilogue;
};

template <class V, int MR, int NR>
inline void load_sums(const char* sums, ptrdiff_t sums_row, V (&acc)[MR][NR]) {
  asm volatile("" : "+r"(sums_row));  // see store_tile
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) acc[r][j] = V::load(sums + r * sums_row + j * static_cast<ptrdiff_t>(sizeof(V)));
  }
}

// Applies an activation to a tile in registers.
template <class V, int MR, int NR, V (*f)(V, V, V)>
inline void map_tile(V a, V b, V (&acc)[MR][NR]) {
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) acc[r][j] = f(acc[r][j], a, b);
  }
}

// Stores `rows` rows of a tile, NR vectors each, that wait in memory for their activation. One function for all heights
// of tiles. (Done after the multiply-adds of the next tile it costs the same: it does not wait for its own.)
template <class V, int NR>
__attribute__((noinline)) void activate_and_store(const Column& t, char* y, const char* residual, int rows, V* tile) {
  constexpr ptrdiff_t vector = sizeof(V);
  const bool whole = t.last == V::lanes;
  const auto mask = V::first(t.last);
  char* const sums = reinterpret_cast<char*>(tile);
  if (residual != nullptr) {
    for (int r = 0; r < rows; ++r, residual += t.residual_row) {
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) {
        V& v = tile[r * NR + j];
        v = V::add(v, whole || j < NR - 1 ? V::load(residual + j * vector) : V::load(residual + j * vector, mask));
      }
    }
  }
  const int64_t vectors = int64_t{rows} * NR;
  if (whole && !t.stream) {
    t.epilogue.activate(t.epilogue.parameters, sums, vectors, y, NR, t.y_row);
    return;
  }
  t.epilogue.activate(t.epilogue.parameters, sums, vectors, sums, vectors, 0);
  for (int r = 0; r < rows; ++r, y += t.y_row) {
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) {
      const V v = tile[r * NR + j];
      if (whole)
        v.stream(y + j * vector);
      else if (j < NR - 1)
        v.store(y + j * vector);
      else
        v.store(y + j * vector, mask);
    }
  }
}

// Stores `rows` rows of a tile. A whole one is stored without a branch. The strides are held in registers, as the
// compiler must assume that stores change the Column; and hidden from it, as it would keep addresses of every row, for
// all tiles, in registers that the multiply-adds need.
template <class V, int MR, int NR, bool Residual>
inline void store_tile(const Column& t, char* y, const char* residual, int rows, V (&acc)[MR][NR]) {
  constexpr ptrdiff_t vector = sizeof(V);
  if (t.epilogue.activate) {
    if (Residual || t.epilogue.in_registers == Inline::no) {
      V tile[MR * NR];
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) tile[r * NR + j] = acc[r][j];
      }
      activate_and_store<V, NR>(t, y, residual, rows, tile);
      return;
    }
    const V a = V::broadcast(t.epilogue.parameters[0].address()), b = V::broadcast(t.epilogue.parameters[1].address());
    switch (t.epilogue.in_registers) {
      case Inline::no: break;
      case Inline::clip: map_tile<V, MR, NR, clip<V>>(a, b, acc); break;
      case Inline::leaky_relu: map_tile<V, MR, NR, leaky_relu<V>>(a, b, acc); break;
      case Inline::hardswish: map_tile<V, MR, NR, hardswish<V>>(a, b, acc); break;
    }
  }
  ptrdiff_t y_row = t.y_row, residual_row = t.residual_row;
  asm volatile("" : "+r"(y_row));
  if (Residual) asm volatile("" : "+r"(residual_row));
  const int last = t.last;
  const V floor = V::broadcast(t.epilogue.floor.address());
  if (t.stream && rows == MR && last == V::lanes) {
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) {
        const V v = Residual ? V::add(acc[r][j], V::load(residual + j * vector)) : acc[r][j];
        V::max(floor, v).stream(y + j * vector);
      }
      y += y_row;
      if (Residual) residual += residual_row;
    }
    return;
  }
  if (rows == MR && last == V::lanes) {
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) {
        const V v = Residual ? V::add(acc[r][j], V::load(residual + j * vector)) : acc[r][j];
        V::max(floor, v).store(y + j * vector);
      }
      y += y_row;
      if (Residual) residual += residual_row;
    }
    return;
  }
  const auto mask = V::first(last);
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    if (r >= rows) return;
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) {
      if (j < NR - 1) {
        const V v = Residual ? V::add(acc[r][j], V::load(residual + j * vector)) : acc[r][j];
        V::max(floor, v).store(y + j * vector);
      } else {
        const V v = Residual ? V::add(acc[r][j], V::load(residual + j * vector, mask)) : acc[r][j];
        V::max(floor, v).store(y + j * vector, mask);
      }
    }
    y += y_row;
    if (Residual) residual += residual_row;
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
  const auto mask = V::first(t.last);
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
    store_tile<V, MR, NR, Residual>(t, y, residual, tile > 1 ? MR : last_rows, acc);
    y += MR * t.y_row;
    if (Residual) residual += MR * t.residual_row;
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
  constexpr int group = MR > 20 ? 4 : 3;
  constexpr int per_panel = panel_width<T>() / V::lanes, pointers = (MR + group - 1) / group;
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
      x[p] = from + group * p * x_pixel;
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
        const V pixel = V::broadcast(x[r / group] + (r % group == 3 ? third : (r % group) * x_pixel));
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) acc[r][j] = V::fma(pixel, channels[j], acc[r][j]);
      }
      w += panel_row;
      POINTWISE_UNROLL
      for (int p = 0; p < pointers; ++p) x[p] += x_channel;
    }
    store_tile<V, MR, NR, Residual>(t, y, residual, MR, acc);
    from += MR * x_pixel;
    y += MR * t.y_row;
    if (Residual) residual += MR * t.residual_row;
  }
}

}  // namespace
}  // namespace pointwise
