// Channel rows for few output channels, if the pixels of src are contiguous (NCHW) and an image has many input
// channels.
//
// Ordinary channel rows read all input channels of a few vectors of pixels. Then they do the same for the next vectors.
// If src is in memory, this is slow, because the CPU does not prefetch hundreds of short runs. Long rows read a few
// input channels of a long strip of pixels. They keep the sums of the strip in the workspace:
//
//     for each strip of pixels:
//       for every 12 input channels:            sums += weights * 12 long runs of src
//       finish_strip()
//
// At the end of a chunk, the sums are added to the totals of the strip (kernel.h).
//
// V must have a function keep_in_register(). It does nothing, but prevents the compiler from loading the vector again.
#pragma once

#include "kernels/few_outputs.h"
#include "kernels/strip.h"

namespace pointwise {
namespace {

// The arguments of one pass over the pixels of a strip. A row holds contiguous numbers of one output channel. Strides
// are in bytes.
struct LongPass {
  int64_t tiles;
  const char* x;
  ptrdiff_t x_channel;
  int64_t input_channels;
  const char* weights;  // weights of the first output channel, in its panel
  const char* bias;     // used if `from` is null: sums start from these numbers, one for each row
  const char* from;     // sums to continue, or null
  const char* totals;   // sums to add at the end, or null
  char* to;
  ptrdiff_t row, to_row;  // `row` is the distance of rows in `from` and `totals`, `to_row` in `to`
  const char* floor;      // the floor, to apply to the sums before they are stored; or null
  int last;               // number of pixels in the last vector, if Part is true
};

// Adds the products of a few input channels to MR rows of sums. Computes NR vectors of each row at a time.
template <class V, int MR, int NR, bool Part>
__attribute__((noinline)) void long_pass(const LongPass& t) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T), vector = sizeof(V), panel_row = panel_bytes;
  const auto mask = V::first(t.last);
  const int64_t input_channels = t.input_channels;
  const ptrdiff_t x_channel = t.x_channel, row = t.row, to_row = t.to_row;
  const char *begin = t.x, *from = t.from, *totals = t.totals, *const weights = t.weights, *const bias = t.bias;
  char* to = t.to;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    V acc[MR][NR];
    if (from) {
      load_sums<V, MR, NR>(from, row, acc);
      from += NR * vector;
    } else {
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        const V start = V::broadcast(bias + r * item);
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) acc[r][j] = start;
      }
    }
    const char *x = begin, *w = weights;
    for (int64_t i = input_channels; i > 0; --i) {
      V pixels[NR];
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) {
        pixels[j] = Part ? V::load(x + j * vector, mask) : V::load(x + j * vector);
        if (MR > 1) pixels[j].keep_in_register();  // otherwise g++ loads the vector again for each row
      }
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        const V weight = V::broadcast(w + r * item);
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) acc[r][j] = V::fma(weight, pixels[j], acc[r][j]);
      }
      x += x_channel;
      w += panel_row;
    }
    if (totals) {
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) acc[r][j] = V::add(V::load(totals + r * row + j * vector), acc[r][j]);
      }
      totals += NR * vector;
    }
    if (t.floor) {
      const V floor = V::broadcast(t.floor);
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) {
          const V v = after(acc[r][j], floor);
          Part ? v.store(to + r * to_row + j * vector, mask) : v.store(to + r * to_row + j * vector);
        }
      }
    } else {
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) {
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) acc[r][j].store(to + r * to_row + j * vector);
      }
    }
    begin += NR * vector;
    to += NR * vector;
  }
}

// The instances of long_pass() for 1 to MR output channels. A tile has at most `accumulators` vectors of sums.
template <class V, int MR, int accumulators>
struct LongPasses {
  using Function = void (*)(const LongPass&);
  Function wide[MR], one[MR], part[MR];  // for tiles of several vectors, of one vector, of a part of a vector
  int vectors[MR];                       // number of vectors in the tiles of `wide`
  constexpr LongPasses() : wide(), one(), part(), vectors() { fill<1>(); }
  template <int M>
  constexpr void fill() {
    constexpr int vectors_of_m = accumulators / M < 8 ? accumulators / M : 8;
    vectors[M - 1] = vectors_of_m;
    wide[M - 1] = long_pass<V, M, vectors_of_m, false>;
    one[M - 1] = long_pass<V, M, 1, false>;
    part[M - 1] = long_pass<V, M, 1, true>;
    if constexpr (M < MR) fill<M + 1>();
  }
};

// Computes a block. A pass over a strip computes at most MR output channels.
template <class V, int MR, int accumulators>
void run_long_rows(const Block& b) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T);
  constexpr int64_t width = panel_width<T>();
  static constexpr LongPasses<V, MR, accumulators> passes;
  alignas(64) static constexpr T zeros[width] = {};
  const int64_t most_channels = smaller(width, b.channels);
  const bool has_totals = b.input_channels > chunk_channels || b.sums;
  // Sums and totals have a row for each output channel. Each row ends with an unused vector, so that the distance of
  // rows is not a power of two.
  const int64_t row = b.room_bytes / (item * most_channels * (has_totals ? 2 : 1)) / V::lanes * V::lanes;
  const int64_t strip = row - V::lanes;
  T *const sums = reinterpret_cast<T*>(b.room), *const totals = sums + most_channels * row;
  // If the floor is the only step after the sums, the last pass over a strip stores the results to y.
  const bool finishes = is_direct(b, Rows::channels, item) && !b.residual && !b.epilogue.activate && !b.stream &&
                        (b.input_channels > 0 || !b.sums);
  const int64_t vectors = ceil_div(b.pixels, V::lanes), strips = ceil_div(vectors, strip / V::lanes);
  for (int64_t s = 0; s < strips; ++s) {
    const int64_t pixel = s * vectors / strips * V::lanes;
    const int64_t pixels = smaller(b.pixels, (s + 1) * vectors / strips * V::lanes) - pixel;
    for (int64_t panel = 0, channels; panel < b.channels; panel += channels) {
      channels = smaller(width, b.channels - panel);
      bool any_totals = false;
      if (b.sums) {
        T* const to = b.input_channels > 0 ? totals : sums;
        for (int64_t c = 0; c < channels; ++c)
          __builtin_memcpy(to + c * row, b.sums + (panel + c) * b.sums_row + pixel * item,
                           ceil_div(pixels, V::lanes) * sizeof(V));
        any_totals = true;
      }
      int64_t end = 0;
      for (int64_t i = 0; end < b.input_channels || (i == 0 && end == 0 && !b.sums); i = end) {
        const int64_t chunk_end = smaller(b.input_channels, (i / chunk_channels + 1) * chunk_channels);
        end = smaller(i + long_pass_inputs, chunk_end);
        const bool ends_chunk = end == chunk_end && end < b.input_channels;
        const int64_t parts = ceil_div(channels, MR);
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t first = part * channels / parts, rows = (part + 1) * channels / parts - first;
          const auto numbers = [&](T* rows_of, int64_t at) {
            return reinterpret_cast<char*>(rows_of + first * row + at);
          };
          LongPass t;
          t.x_channel = b.x_channel;
          t.input_channels = end - i;
          t.weights = b.weights + panel / width * b.panel + i * panel_bytes + first * item;
          t.bias = i > 0 || b.sums ? reinterpret_cast<const char*>(zeros) : b.bias + (panel + first) * item;
          const bool stores_y = finishes && end == b.input_channels;
          t.row = row * item;
          t.to_row = stores_y ? b.y_channel : t.row;
          t.floor = stores_y ? b.epilogue.floor.address() : nullptr;
          t.last = static_cast<int>(pixels % V::lanes);
          const auto run = [&](typename LongPasses<V, MR, accumulators>::Function pass, int64_t tiles, int64_t at) {
            if (tiles == 0) return;
            t.tiles = tiles;
            t.x = b.x + i * b.x_channel + (pixel + at) * item;
            t.from = i % chunk_channels > 0 ? numbers(sums, at) : nullptr;
            t.totals = any_totals && (ends_chunk || end == b.input_channels) ? numbers(totals, at) : nullptr;
            t.to = stores_y ? b.y + (pixel + at) * item + (panel + first) * b.y_channel
                            : numbers(ends_chunk ? totals : sums, at);
            pass(t);
          };
          const int64_t whole = pixels / V::lanes, wide = passes.vectors[rows - 1], tiles = whole / wide;
          run(passes.wide[rows - 1], tiles, 0);
          run(passes.one[rows - 1], whole - tiles * wide, tiles * wide * V::lanes);
          run(passes.part[rows - 1], t.last > 0, whole * V::lanes);
        }
        any_totals = any_totals || ends_chunk;
        if (b.input_channels == 0) break;
      }
      if (finishes) continue;
      finish_strip<V>(b, sums, static_cast<int>(row), pixel, static_cast<int>(pixels), panel,
                      static_cast<int>(channels));
    }
  }
  if (b.stream) V::fence();
}

}  // namespace
}  // namespace pointwise
