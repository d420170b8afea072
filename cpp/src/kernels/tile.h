// The register tile, written once over a vector type V.
//
// Included only by kernel files, each compiled with its own -m flags: so everything here has internal linkage, and
// nothing of the standard library is called (an inline function compiled with AVX-512 could be the one that the
// linker keeps for everybody).
//
// V is a vector of `lanes` numbers of type V::Number:
//     broadcast(p) load(p) store(p)          one number to all lanes; p is const char* and needs no alignment
//     load(p, mask) store(p, mask)           only the lanes of first(n); the others load as 0 and are not touched
//     fill(number)  fma(a, b, c)  add(a, b)  max(a, b) = a > b ? a : b, so b where either is NaN
//     transpose(V (&)[lanes])                lanes x lanes, in place
#pragma once

#include "kernel.h"

namespace pointwise {
namespace {

#define POINTWISE_UNROLL _Pragma("GCC unroll 32")

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
inline T read(const char* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}

// One register tile. The lanes of a row are stored side by side at y + row * y_row.
template <class T>
struct Tile {
  int64_t input_channels;
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
  int rows;  // rows to store: at most MR
  int last;  // lanes in use in the last vector of a row
  T floor;
};

template <class V, int MR, int NR>
inline void load_sums(const Tile<typename V::Number>& t, V (&acc)[MR][NR]) {
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) acc[r][j] = V::load(t.sums + r * t.sums_row + j * static_cast<ptrdiff_t>(sizeof(V)));
  }
}

template <class V, int MR, int NR, bool Residual>
inline void store_tile(const Tile<typename V::Number>& t, const V (&acc)[MR][NR]) {
  const V floor = V::fill(t.floor);
  const bool whole = t.last == V::lanes;
  const auto mask = V::first(t.last);
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    if (r >= t.rows) return;
    char* y = t.y + r * t.y_row;
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) {
      const ptrdiff_t at = j * V::lanes * static_cast<ptrdiff_t>(sizeof(typename V::Number));
      V v = acc[r][j];
      if (j < NR - 1 || whole) {
        if (Residual) v = V::add(v, V::load(t.residual + r * t.residual_row + at));
        V::max(floor, v).store(y + at);
      } else {
        if (Residual) v = V::add(v, V::load(t.residual + r * t.residual_row + at, mask));
        V::max(floor, v).store(y + at, mask);
      }
    }
  }
}

// Rows are output channels, lanes are pixels. Masked: the last vector of x is loaded with a mask.
template <class V, int MR, int NR, bool Residual, bool Masked>
__attribute__((noinline)) void channel_rows_tile(const Tile<typename V::Number>& t) {
  using T = typename V::Number;
  constexpr ptrdiff_t vector = V::lanes * sizeof(T), panel_row = 64;
  V acc[MR][NR];
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    const V bias = V::broadcast(t.bias + r * sizeof(T));
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) acc[r][j] = bias;
  }
  if (t.sums) load_sums<V, MR, NR>(t, acc);
  const char *x = t.x, *w = t.weights;
  const auto mask = V::first(t.last);
  for (int64_t i = t.input_channels; i > 0; --i) {
    V pixels[NR];
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j)
      pixels[j] = Masked && j == NR - 1 ? V::load(x + j * vector, mask) : V::load(x + j * vector);
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      const V weight = V::broadcast(w + r * sizeof(T));
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) acc[r][j] = V::fma(weight, pixels[j], acc[r][j]);
    }
    x += t.x_channel;
    w += panel_row;
  }
  store_tile<V, MR, NR, Residual>(t, acc);
}

// Rows are pixels, lanes are output channels. Three rows share a pointer (x, x + stride, x + 2 stride are addresses
// that the CPU forms by itself): one pointer a row would spill, and one for all makes the compiler multiply. Tall tiles
// have no register for so many pointers: there a fourth row adds 3 stride from one (28 rows: 80 -> 84% of the peak).
template <class V, int MR, int NR, bool Residual>
__attribute__((noinline)) void pixel_rows_tile(const Tile<typename V::Number>& t) {
  using T = typename V::Number;
  constexpr ptrdiff_t vector = V::lanes * sizeof(T), panel_row = 64;
  constexpr int group = MR > 20 ? 4 : 3;
  constexpr int per_panel = panel_width<T>() / V::lanes, pointers = (MR + group - 1) / group;
  V acc[MR][NR];
  POINTWISE_UNROLL
  for (int j = 0; j < NR; ++j) {
    const V bias = V::load(t.bias + j * vector);
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) acc[r][j] = bias;
  }
  if (t.sums) load_sums<V, MR, NR>(t, acc);
  const ptrdiff_t x_pixel = t.x_pixel;
  const char *x[pointers], *w = t.weights;
  POINTWISE_UNROLL
  for (int p = 0; p < pointers; ++p) {
    x[p] = t.x + group * p * x_pixel;
    asm("" : "+r"(x[p]));
  }
  ptrdiff_t third = 3 * x_pixel;
  asm("" : "+r"(third));
  for (int64_t i = t.input_channels; i > 0; --i) {
    V channels[NR];
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) channels[j] = V::load(w + (j / per_panel) * t.panel + (j % per_panel) * vector);
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      const V pixel = V::broadcast(x[r / group] + (r % group == 3 ? third : (r % group) * x_pixel));
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) acc[r][j] = V::fma(pixel, channels[j], acc[r][j]);
    }
    w += panel_row;
    POINTWISE_UNROLL
    for (int p = 0; p < pointers; ++p) x[p] += t.x_channel;
  }
  store_tile<V, MR, NR, Residual>(t, acc);
}

}  // namespace
}  // namespace pointwise
