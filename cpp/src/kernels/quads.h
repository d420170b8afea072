// Channel rows for few output channels, if the channels of src are contiguous (NHWC).
//
// A quad is 16 bytes of one pixel: the numbers of 4 input channels (float32) or 2 (float64). A tile loads the quads of
// the pixels of a vector, and transposes them in registers to one vector of pixels for each input channel:
//
//     memory                            registers
//       pixel 0  [c0 c1 c2 c3] ...        c0 of pixels 0, 1, 2, ...
//       pixel 1  [c0 c1 c2 c3] ...        c1 of pixels 0, 1, 2, ...
//       ...                               c2 ..., c3 ...
//
// So src needs no packing. All lanes are in use, because lanes are pixels.
//
// If src is uint8, the 16 bytes of a pixel are 16 input channels. Then four of the loaded vectors hold four channels
// each, as the bytes of their lanes, and each byte is converted to float32 before the multiplication.
//
// V must have a function load_quads(first, step, V (&)[quad]), which loads one quad of each of V::lanes pixels and
// transposes the quads. Pixel `group` * `quad` + i is at `first[group]` + i * `step`.
#pragma once

#include "kernels/few_outputs.h"
#include "kernels/strip.h"

namespace pointwise {
namespace {

// Maximum number of input channels that is a template argument of quads_column().
constexpr int few_inputs = 3;
// Number of pixels in a strip. The sums of a strip are stored, then finish_strip() finishes them.
constexpr int quad_strip = 256;

// Returns the number of vectors of pixels in a tile. A tile with a single narrow vector would have too few independent
// multiply-adds.
template <class V>
constexpr int quad_tile_vectors(int rows) {
  return rows == 1 && sizeof(V) < 64 ? 2 : 1;
}

// The same for uint8. The conversions of the bytes are independent of each other.
constexpr int byte_quad_tile_vectors(int) { return 1; }

// Maximum number of output channels of a tile that reads uint8. AVX2 has 16 registers, and Clang keeps two patterns of
// the conversion in registers.
template <class V>
constexpr int most_byte_quad_rows = V::lanes == 16 ? most_quad_rows : 6;

// The arguments of a column of tiles. Tiles store their sums one after the other. Strides are in bytes.
struct QuadColumn {
  int64_t input_channels, tiles;
  const char* x;
  ptrdiff_t x_pixel;
  const char* weights;  // weights of the first output channel, in its panel
  const char* bias;
  const char* start;  // sums to start from, in place of the bias, or null
  ptrdiff_t start_row;
  char* sums;
  ptrdiff_t sums_row;
  bool fetch;  // prefetch the pixels of the next tile; they may be beyond the end of x
};

// Computes a column of tiles of MR output channels. K is the number of input channels, or 0 if there are more than
// `few_inputs`. If K is not a multiple of a quad, the tile reads beyond the end of each pixel.
template <class V, int MR, int K>
__attribute__((noinline)) void quads_column(const QuadColumn& t) {
  using T = typename V::Number;
  constexpr int NR = quad_tile_vectors<V>(MR), tile_pixels = NR * V::lanes;
  constexpr int quad = 16 / sizeof(T), groups = V::lanes / quad;
  constexpr ptrdiff_t item = sizeof(T), vector = sizeof(V), line = 64;
  constexpr ptrdiff_t most_in_l1 = 8192, short_fetch = 1024;  // bytes
  const ptrdiff_t x_pixel = t.x_pixel, sums_row = t.sums_row, start_row = t.start_row;
  const int64_t input_channels = K > 0 ? K : t.input_channels;
  const bool fetch = t.fetch, to_l1 = tile_pixels * input_channels * item <= most_in_l1;
  const int rest = static_cast<int>(input_channels % quad);
  const char *from = t.x, *const weights = t.weights, *const bias = t.bias, *start = t.start;
  char* to = t.sums;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    const char *x[NR][groups], *w = weights, *ahead = from + (K > 0 ? short_fetch : tile_pixels * x_pixel);
    V acc[MR][NR];
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) {
      POINTWISE_UNROLL
      for (int g = 0; g < groups; ++g) x[j][g] = from + (j * V::lanes + g * quad) * x_pixel;
      POINTWISE_UNROLL
      for (int r = 0; r < MR; ++r) acc[r][j] = V::broadcast(bias + r * item);
    }
    Totals<V, MR, NR> totals;
    if (start) {
      load_sums<V, MR, NR>(start, start_row, acc);
      start += NR * vector;
      if (input_channels > 0) totals.end_chunk(acc);
    }
    // Loads the quads at `x`. Adds the products of numbers `begin` to `end` - 1 of each quad, in order. `w` points to
    // the weights of number `begin`.
    const auto add = [&](int begin, int end) __attribute__((always_inline)) {
      V pixels[NR][quad];
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) V::load_quads(x[j], x_pixel, pixels[j]);
      POINTWISE_UNROLL
      for (int c = 0; c < quad; ++c) {
        if (c < begin || c >= end) continue;
        POINTWISE_UNROLL
        for (int r = 0; r < MR; ++r) {
          const V weight = V::broadcast(w + r * item);
          POINTWISE_UNROLL
          for (int j = 0; j < NR; ++j) acc[r][j] = V::fma(weight, pixels[j][c], acc[r][j]);
        }
        w += panel_bytes;
      }
    };
    const auto move = [&](ptrdiff_t bytes) __attribute__((always_inline)) {
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) {
        POINTWISE_UNROLL
        for (int g = 0; g < groups; ++g) x[j][g] += bytes;
      }
    };
    if constexpr (K > 0) {
      if (fetch) {
        POINTWISE_UNROLL
        for (ptrdiff_t at = 0; at < tile_pixels * K * item; at += line) __builtin_prefetch(ahead + at);
      }
      POINTWISE_UNROLL
      for (int c = 0; c < K; c += quad) {
        add(0, K - c < quad ? K - c : quad);
        if (c + quad < K) move(16);
      }
    } else {
      for (int64_t left = input_channels;;) {
        for (int64_t i = smaller(left, chunk_channels) / quad; i > 0; --i) {
          if (fetch) {  // 16 bytes for each pixel of a tile
            POINTWISE_UNROLL
            for (int l = 0; l < tile_pixels / 4; ++l) {
              if (to_l1)
                __builtin_prefetch(ahead + l * line, 0, 3);
              else
                __builtin_prefetch(ahead + l * line, 0, 2);
            }
            ahead += tile_pixels / 4 * line;
          }
          add(0, quad);
          move(16);
        }
        left -= chunk_channels;
        if (left <= 0) break;
        totals.end_chunk(acc);
      }
      if (rest > 0) {  // loads the last quad that lies within the pixel; uses only its last numbers
        move((rest - quad) * item);
        add(quad - rest, quad);
      }
    }
    totals.end_sum(acc);
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) acc[r][j].store(to + r * sums_row + j * vector);
    }
    from += tile_pixels * x_pixel;
    to += NR * vector;
  }
}

// The instances of quads_column(). f[K][M - 1] is for M output channels, and for K input channels. f[0] is for more
// than `few_inputs` input channels.
template <class V>
struct QuadColumns {
  void (*f[few_inputs + 1][most_quad_rows])(const QuadColumn&);
  constexpr QuadColumns() : f() { fill<0, 1>(); }
  template <int K, int M>
  constexpr void fill() {
    f[K][M - 1] = quads_column<V, M, K>;
    if constexpr (M < most_quad_rows)
      fill<K, M + 1>();
    else if constexpr (K < few_inputs)
      fill<K + 1, 1>();
  }
};

// Computes a column of tiles of MR output channels from uint8. A tile has one vector of pixels. If there are fewer than
// 16 input channels, the tile reads beyond the end of each pixel. There is only one chunk of input channels.
template <class V, int MR>
__attribute__((noinline)) void byte_quads_column(const QuadColumn& t) {
  constexpr int groups = V::lanes / 4, loaded = 16;
  constexpr ptrdiff_t item = sizeof(float), short_fetch = 1024;
  const ptrdiff_t x_pixel = t.x_pixel, sums_row = t.sums_row;
  const int64_t input_channels = t.input_channels;
  const int rest = static_cast<int>(input_channels % loaded);
  const char *from = t.x, *const weights = t.weights, *const bias = t.bias;
  char* to = t.sums;
  for (int64_t tile = t.tiles; tile > 0; --tile) {
    const char *x[groups], *w = weights;
    V acc[MR];
    POINTWISE_UNROLL
    for (int g = 0; g < groups; ++g) x[g] = from + g * 4 * x_pixel;
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) acc[r] = V::broadcast(bias + r * item);
    if (t.fetch)
      for (ptrdiff_t at = 0; at < V::lanes * x_pixel; at += 64) __builtin_prefetch(from + short_fetch + at);
    // Loads 16 bytes of each pixel. Adds the products of bytes `begin` to `end` - 1, in order.
    const auto add = [&](int begin, int end) __attribute__((always_inline)) {
      V bytes[4];
      V::load_quads(x, x_pixel, bytes);
      POINTWISE_UNROLL
      for (int c = 0; c < loaded; ++c) {
        if (c < begin) continue;
        if (c >= end) break;
        const V pixels = V::convert_byte(bytes[c / 4], c % 4);
        POINTWISE_UNROLL
        for (int r = 0; r < MR; ++r) acc[r] = V::fma(V::broadcast(w + r * item), pixels, acc[r]);
        w += panel_bytes;
      }
    };
    const auto move = [&](ptrdiff_t bytes) __attribute__((always_inline)) {
      POINTWISE_UNROLL
      for (int g = 0; g < groups; ++g) x[g] += bytes;
    };
    for (int64_t left = input_channels; left >= loaded; left -= loaded) {
      add(0, loaded);
      move(loaded);
    }
    if (rest > 0) {  // with 16 channels or more, loads the last 16 bytes of the pixel
      const int first = input_channels < loaded ? 0 : loaded - rest;
      move(-first);
      add(first, first + rest);
    }
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) acc[r].store(to + r * sums_row);
    from += V::lanes * x_pixel;
    to += sizeof(V);
  }
}

// The instances of byte_quads_column(). f[M - 1] is for M output channels.
template <class V>
struct ByteQuadColumns {
  void (*f[most_byte_quad_rows<V>])(const QuadColumn&);
  constexpr ByteQuadColumns() : f() { fill<1>(); }
  template <int M>
  constexpr void fill() {
    f[M - 1] = byte_quads_column<V, M>;
    if constexpr (M < most_byte_quad_rows<V>) fill<M + 1>();
  }
};

// Computes a block. `columns[M - 1]` computes columns of M output channels, with `tile_vectors(M)` vectors of pixels in
// a tile. M is at most MR. It reads `beyond` bytes beyond each pixel. A number of x has `x_item` bytes.
template <class V, int MR, int (*tile_vectors)(int)>
void run_quad_strips(const Block& b, ptrdiff_t x_item, ptrdiff_t beyond, void (*const* columns)(const QuadColumn&)) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T), padded_pixel = 32;
  constexpr int64_t width = panel_width<T>();
  alignas(64) T sums[MR * quad_strip];
  alignas(64) char padded[quad_strip * padded_pixel];
  const ptrdiff_t pixel_bytes = b.input_channels * x_item;
  // The bytes beyond a pixel belong to the next pixels, except at the end of the block. So the last pixels, from pixel
  // `not_padded` on, are copied to `padded` first. If the pixels are not contiguous, all of them are copied.
  const int64_t not_padded = beyond == 0                ? b.pixels
                             : b.x_pixel != pixel_bytes ? 0
                                                        : b.pixels - ceil_div(beyond, pixel_bytes);
  const int64_t strips = ceil_div(b.pixels, quad_strip), vectors = ceil_div(b.pixels, V::lanes);
  for (int64_t i = 0; i < strips; ++i) {
    const int64_t pixel = i * vectors / strips * V::lanes;
    const int pixels = static_cast<int>(smaller(b.pixels, (i + 1) * vectors / strips * V::lanes) - pixel);
    const char* x = b.x + pixel * b.x_pixel;
    ptrdiff_t x_pixel = b.x_pixel;
    if (pixel + pixels > not_padded) {
      __builtin_memset(padded, 0, sizeof(padded));
      for (int p = 0; p < pixels; ++p) __builtin_memcpy(padded + p * padded_pixel, x + p * x_pixel, pixel_bytes);
      x = padded;
      x_pixel = padded_pixel;
    }
    for (int64_t c = 0, rows; c < b.channels; c += rows) {
      rows = smaller(MR, smaller(width - c % width, b.channels - c));
      QuadColumn t{};
      t.input_channels = b.input_channels;
      t.x_pixel = x_pixel;
      t.weights = b.weights + c / width * b.panel + c % width * item;
      t.bias = b.bias + c * item;
      t.start_row = b.sums_row;
      t.sums_row = quad_strip * item;
      t.fetch = b.source > Level::l2;
      const char* const start = b.sums ? b.sums + c * b.sums_row + pixel * item : nullptr;
      // Computes `tiles` tiles. The first tile begins at pixel `from` of the strip.
      const auto run = [&](int64_t tiles, int64_t from) {
        t.tiles = tiles;
        t.x = x + from * x_pixel;
        t.sums = reinterpret_cast<char*>(sums + from);
        columns[rows - 1](t);
      };
      const int tile = tile_vectors(static_cast<int>(rows)) * V::lanes;
      const int64_t whole = pixels / tile;
      t.start = start;
      if (whole > 0) run(whole, 0);
      if (pixels % tile > 0) {
        for (int r = 0; r < rows; ++r)  // finish_strip() reads whole vectors
          __builtin_memset(sums + r * quad_strip + whole * tile, 0, tile * sizeof(T));
        if (whole > 0) {  // the last tile overlaps the tile before it, and computes some pixels again
          const int from = pixels - tile;
          if (start) t.start = start + from * item;
          run(1, from);
        } else {  // one pixel at a time, in all lanes
          t.x_pixel = 0;
          for (int p = 0; p < pixels; ++p) {
            alignas(64) T first[MR * 2 * V::lanes] = {};
            t.start_row = 2 * sizeof(V);
            for (int r = 0; start && r < rows; ++r)
              __builtin_memcpy(first + r * 2 * V::lanes, start + r * b.sums_row + p * item, item);
            if (start) t.start = reinterpret_cast<const char*>(first);
            run(1, p);
          }
        }
      }
      finish_strip<V>(b, sums, quad_strip, pixel, pixels, c, static_cast<int>(rows));
    }
  }
  if (b.stream) V::fence();
}

// Computes a block. x has the dtype of the sums.
template <class V>
void run_quads(const Block& b) {
  static constexpr QuadColumns<V> columns;
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  const int few = b.input_channels <= few_inputs ? static_cast<int>(b.input_channels) : 0;
  const ptrdiff_t beyond = few > 0 ? -(b.input_channels * item) & 15 : 0;
  run_quad_strips<V, most_quad_rows, quad_tile_vectors<V>>(b, item, beyond, columns.f[few]);
}

// Computes a block. x is uint8.
template <class V>
void run_byte_quads(const Block& b) {
  static constexpr ByteQuadColumns<V> columns;
  const ptrdiff_t beyond = b.input_channels < 16 ? 16 - b.input_channels : 0;
  run_quad_strips<V, most_byte_quad_rows<V>, byte_quad_tile_vectors>(b, 1, beyond, columns.f);
}

}  // namespace
}  // namespace pointwise
