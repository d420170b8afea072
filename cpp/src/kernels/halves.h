// Pixel rows for channels that leave half a vector or less: 24, 40, 72, and 1 to 8. The last vector, or the only one,
// is half as wide, which takes half the time where the CPU computes whole ones half by half.
//
// V has beside what common.h asks for a type Half of half the lanes with fill(number), broadcast(p), load(p), store(p),
// store(p, half_first(n)), max(a, b) and fma(a, b, c); and widen(half), whose upper lanes are zeros.
#pragma once

#include "block.h"

namespace pointwise {
namespace {

// Whether the last vector of channels is half empty.
template <class V>
bool leaves_half(const Block<typename V::Number>& b) {
  const int64_t rest = b.channels % V::lanes;
  return rest > 0 && rest <= V::lanes / 2;
}

// A rectangle of the block, from the beginning of a panel on.
template <class T>
Block<T> part_of(const Block<T>& b, int64_t pixel, int64_t pixels, int64_t channel, int64_t channels) {
  constexpr ptrdiff_t item = sizeof(T);
  Block<T> part = b;
  part.pixels = pixels;
  part.channels = channels;
  part.x += pixel * b.x_pixel;
  part.weights =
      reinterpret_cast<const T*>(reinterpret_cast<const char*>(b.weights) + channel / panel_width<T>() * b.panel);
  part.bias += channel;
  part.y += pixel * b.y_pixel + channel * item;
  if (b.residual) part.residual += pixel * b.residual_pixel + channel * item;
  return part;
}

// Runs the channels before the last vector and a half as ordinary rows; returns how many they are.
template <class V>
int64_t run_before_half(const Block<typename V::Number>& b) {
  constexpr int lanes = V::lanes;
  const int64_t before = b.channels < lanes ? 0 : b.channels / lanes * lanes - lanes;
  if (before > 0)
    (before == lanes       ? run_pixel_rows<V, 28, 1>
     : before == 2 * lanes ? run_pixel_rows<V, 12, 2>
                           : run_pixel_rows<V, 6, 4>)(part_of(b, 0, b.pixels, 0, before));
  return before;
}

// Stores a tile without masks of whole vectors, with which a half takes longer.
template <class V, int MR, int Whole, bool Masked>
inline void store_halves(const Column<typename V::Number>& t, char* y, V (&acc)[MR][Whole + 1],
                         typename V::Half (&half)[MR]) {
  using Half = typename V::Half;
  ptrdiff_t y_row = t.y_row;
  asm volatile("" : "+r"(y_row));  // see store_tile
  const V floor = V::fill(t.epilogue.floor);
  const Half half_floor = Half::fill(t.epilogue.floor);
  const auto mask = V::half_first(t.last);
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    if (Whole) V::max(floor, acc[r][0]).store(y);
    const Half last = Half::max(half_floor, half[r]);
    if (Masked)
      last.store(y + Whole * static_cast<ptrdiff_t>(sizeof(V)), mask);
    else
      last.store(y + Whole * static_cast<ptrdiff_t>(sizeof(V)));
    y += y_row;
  }
}

// A column of tiles of MR pixels: `Whole` vectors, 1 or 0, and behind them t.last channels, at most half a vector.
template <class V, int MR, int Whole, bool Residual>
__attribute__((noinline)) void half_rows_column(const Column<typename V::Number>& t) {
  constexpr ptrdiff_t vector = sizeof(V), panel_row = 64;
  constexpr int group = MR > 20 ? 4 : 3, pointers = (MR + group - 1) / group;  // as in pixel_rows_column
  static_assert(panel_width<typename V::Number>() == V::lanes, "a vector is a panel");
  const int64_t input_channels = t.input_channels;
  const ptrdiff_t x_pixel = t.x_pixel, x_channel = t.x_channel, panel = t.panel;
  const char *from = t.x, *residual = t.residual, *const weights = t.weights, *const bias = t.bias;
  char* y = t.y;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    V acc[MR][Whole + 1];
    typename V::Half half[MR];
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      if (Whole) acc[r][0] = V::load(bias);
      half[r] = V::Half::load(bias + Whole * vector);
    }
    const char *x[pointers], *w = weights;
    POINTWISE_UNROLL
    for (int p = 0; p < pointers; ++p) {
      x[p] = from + group * p * x_pixel;
      asm("" : "+r"(x[p]));
    }
    ptrdiff_t third = group > 3 ? 3 * x_pixel : 0;
    if (group > 3) asm("" : "+r"(third));
    for (int64_t i = input_channels; i > 0; --i) {
      const V channels = Whole ? V::load(w) : V{};
      const typename V::Half rest = V::Half::load(w + Whole * panel);
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        const char* const from_x = x[r / group] + (r % group == 3 ? third : r % group * x_pixel);
        if (Whole) acc[r][0] = V::fma(V::broadcast(from_x), channels, acc[r][0]);
        asm volatile("" ::: "memory");  // loaded twice: see V::fma_half
        half[r] = V::Half::fma(V::Half::broadcast(from_x), rest, half[r]);
      }
      w += panel_row;
      POINTWISE_UNROLL
      for (int p = 0; p < pointers; ++p) x[p] += x_channel;
    }
    if (!Residual && !t.epilogue.activate && t.last == V::lanes / 2) {
      store_halves<V, MR, Whole, false>(t, y, acc, half);
    } else if (!Residual && !t.epilogue.activate) {
      store_halves<V, MR, Whole, true>(t, y, acc, half);
    } else {
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) acc[r][Whole] = V::widen(half[r]);
      store_tile<V, MR, Whole + 1, Residual>(t, y, residual, MR, acc);
    }
    y += MR * t.y_row;
    from += MR * x_pixel;
    if (Residual) residual += MR * t.residual_row;
  }
}

// By [rows - 1].
template <class V, int MR, int Whole, bool Residual>
struct HalfRowColumns {
  ColumnFunction<typename V::Number> f[MR];
  constexpr HalfRowColumns() : f() { fill<MR>(); }
  template <int M>
  constexpr void fill() {
    f[M - 1] = half_rows_column<V, M, Whole, Residual>;
    if constexpr (M > 1) fill<M - 1>();
  }
};

// Whole vectors of all channels but the last panel and the half behind it run as ordinary pixel rows.
template <class V, int MR>
void run_half_rows(const Block<typename V::Number>& b) {
  static constexpr HalfRowColumns<V, 2 * MR, 0, false> alone;
  static constexpr HalfRowColumns<V, 2 * MR, 0, true> alone_residual;
  static constexpr HalfRowColumns<V, MR, 1, false> plain;
  static constexpr HalfRowColumns<V, MR, 1, true> residual;
  BlockRunner<V, MR, 1, Rows::pixels> runner(b);
  if (!leaves_half<V>(b) || !runner.direct || b.sums != nullptr) {
    run_pixel_rows<V, 12, 2>(b);
    return;
  }
  const int64_t before = run_before_half<V>(b);
  const bool is_alone = b.channels < V::lanes;
  const auto* f = b.residual ? (is_alone ? alone_residual.f : residual.f) : (is_alone ? alone.f : plain.f);
  const int last = static_cast<int>(b.channels % V::lanes);
  // Pixels spread evenly over the tiles: the first ones have one more than the others.
  const int64_t tiles = ceil_div(b.pixels, is_alone ? 2 * MR : MR), height = b.pixels / tiles,
                larger = b.pixels % tiles;
  if (larger > 0) f[height](runner.column(0, before, larger, static_cast<int>(height + 1), last, 0));
  f[height - 1](runner.column(larger * (height + 1), before, tiles - larger, static_cast<int>(height), last, 0));
}

}  // namespace
}  // namespace pointwise
