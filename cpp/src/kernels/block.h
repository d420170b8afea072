// The loops over the tiles of one Block. If lanes are not contiguous in y, tiles are stored to a buffer. Then the
// numbers in the buffer are transposed or scattered to y.
#pragma once

#include "kernels/tile.h"

namespace pointwise {
namespace {

// Transposes, finishes and stores the rows of `buffer`, which are `width` numbers apart. Number c of row r is stored at
// y + c * y_column + r * sizeof(T). For example, pixel rows store NCHW results with this function. If `Most` is less
// than the number of lanes, `rows` must not exceed `Most`, and the compiler omits the work for further rows.
template <class V, int Most = V::lanes>
void store_transposed(const typename V::Number* buffer, int width, int rows, int columns, char* y, ptrdiff_t y_column,
                      const char* residual, ptrdiff_t residual_column, const Epilogue& epilogue) {
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  for (int r = 0; r < rows; r += V::lanes) {
    const int used = static_cast<int>(smaller(rows - r, V::lanes));
    for (int c = 0; c < columns; c += V::lanes) {
      V v[V::lanes];
      POINTWISE_UNROLL
      for (int i = 0; i < V::lanes; ++i)
        v[i] = i < Most ? V::load(reinterpret_cast<const char*>(buffer + (r + smaller(i, used - 1)) * width + c))
                        : V::fill(0);
      V::transpose(v);
      V sums[V::lanes][1];
      POINTWISE_UNROLL
      for (int i = 0; i < V::lanes; ++i) sums[i][0] = v[i];
      const RowLayout layout = {y_column, residual_column, used, false};
      const ptrdiff_t at = c * y_column + r * item, residual_at = c * residual_column + r * item;
      const int filled = static_cast<int>(smaller(columns - c, V::lanes));
      const char* const from = residual != nullptr ? residual + residual_at : nullptr;
      finish(epilogue, sums, Straight<V, 1>{layout, y + at, from, filled});
    }
  }
}

// Returns true if the lanes of tiles with this orientation are contiguous in y. If there is a residual, the lanes must
// be contiguous there, too. The lanes of channel rows are pixels, and the lanes of pixel rows are output channels.
inline bool is_direct(const Block& b, Rows rows, ptrdiff_t item) {
  const bool channel_rows = rows == Rows::channels;
  const ptrdiff_t y = channel_rows ? b.y_pixel : b.y_channel;
  const ptrdiff_t residual = channel_rows ? b.residual_pixel : b.residual_channel;
  return !b.y_offsets && y == item && (!b.residual || residual == item);
}

// Applies the activation of an epilogue to contiguous vectors, in place.
template <class V>
void finish_row(const Epilogue& epilogue, char* numbers, int64_t vectors) {
  if (epilogue.activate != nullptr) {
    epilogue.activate(epilogue.parameters, numbers, vectors, numbers, vectors, 0);
    return;
  }
  const V floor = V::broadcast(epilogue.floor.address());
  for (int64_t i = 0; i < vectors; ++i) {
    char* const at = numbers + i * static_cast<ptrdiff_t>(sizeof(V));
    after(V::load(at), floor).store(at);
  }
}

// Calls f(i, address of number i) for `count` numbers. Number i is at p + i * `step`. If `offsets` is not null, number
// i is at p + offsets[i].
template <class Pointer, class F>
POINTWISE_INLINE void for_each_number(Pointer p, int count, ptrdiff_t step, const ptrdiff_t* offsets, const F& f) {
  if (offsets != nullptr) {
    for (int i = 0; i < count; ++i) f(i, p + offsets[i]);
  } else {
    for (int i = 0; i < count; ++i, p += step) f(i, p);
  }
}

// Finishes the sums in `rows` and stores them to y, if the lanes of a row are not contiguous there. Rows of sums are
// `width` numbers apart. A row holds `pixels` pixels of one output channel, or `channels` output channels of one pixel.
// The first sum belongs to `pixel` and `channel` of the block. Overwrites the sums. Reads whole squares of lanes x
// lanes sums, or only a quarter of the rows of a square.
template <class V, Rows R>
void store_rows(const Block& b, typename V::Number* rows, int width, int64_t pixel, int pixels, int64_t channel,
                int channels) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T);
  constexpr int lanes = V::lanes;
  // Returns 0 if there is no residual, because adding a nonzero step to a null pointer is undefined.
  const auto residual_step = [&](ptrdiff_t step) { return b.residual ? step : 0; };
  if (is_direct(b, R == Rows::pixels ? Rows::channels : Rows::pixels, item)) {  // rows are contiguous in y
    const bool rows_are_pixels = R == Rows::pixels;
    const int count = rows_are_pixels ? pixels : channels;
    const auto store = count <= lanes / 4 ? store_transposed<V, lanes / 4> : store_transposed<V>;
    store(rows, width, count, rows_are_pixels ? channels : pixels, b.y + pixel * b.y_pixel + channel * b.y_channel,
          rows_are_pixels ? b.y_channel : b.y_pixel,
          b.residual ? b.residual + pixel * b.residual_pixel + channel * b.residual_channel : nullptr,
          residual_step(rows_are_pixels ? b.residual_channel : b.residual_pixel), b.epilogue);
    return;
  }
  const int count = R == Rows::pixels ? pixels : channels, used = R == Rows::pixels ? channels : pixels;
  for (int r = 0; r < count; ++r) {
    T* const row = rows + r * width;
    const int64_t p = R == Rows::pixels ? pixel + r : pixel, c = R == Rows::pixels ? channel : channel + r;
    // Calls `f` for each number of a row. Pixel rows hold numbers of one pixel. Channel rows hold numbers of several
    // pixels.
    const auto each = [&](auto* array, ptrdiff_t pixel_step, ptrdiff_t channel_step, const ptrdiff_t* offsets,
                          const auto& f) __attribute__((always_inline)) {
      auto* const from = array + c * channel_step;
      if (R == Rows::pixels)
        for_each_number(from + (offsets ? offsets[p] : p * pixel_step), used, channel_step, nullptr, f);
      else
        for_each_number(from + (offsets ? 0 : p * pixel_step), used, pixel_step, offsets ? offsets + p : nullptr, f);
    };
    if (b.residual)
      each(b.residual, b.residual_pixel, b.residual_channel, b.residual_offsets,
           [&](int i, const char* at) { row[i] += read<T>(at); });
    finish_row<V>(b.epilogue, reinterpret_cast<char*>(row), ceil_div(used, lanes));
    each(b.y, b.y_pixel, b.y_channel, b.y_offsets, [&](int i, char* at) { __builtin_memcpy(at, row + i, sizeof(T)); });
  }
}

// Prepares the columns of tiles of a block. Tiles store their results to y, or to a buffer if lanes are not contiguous
// in y.
template <class V, int MR, int NR, Rows R>
struct BlockRunner {
  using T = typename V::Number;
  static constexpr ptrdiff_t item = sizeof(T);
  static constexpr int lanes = V::lanes, width = NR * lanes;
  static constexpr int buffer_tiles = MR < 64 ? 64 / MR : 1;
  static constexpr int buffer_rows = (buffer_tiles * MR + lanes - 1) / lanes * lanes;
  static constexpr T lowest = least_number<T>;
  static constexpr int64_t most_fetched = 512;  // bytes of a pixel; longer pixels are left to the prefetcher of the CPU

  const Block& b;
  const bool direct;
  alignas(64) T buffer[buffer_rows * width];

  explicit BlockRunner(const Block& block) : b(block), direct(is_direct(b, R, item)) {
    if (direct) return;
    // flush() reads whole squares of lanes x lanes numbers, or a quarter of the rows of a square. So the numbers that
    // no tile writes must be initialized, too.
    const int64_t used = R == Rows::channels ? b.channels : b.pixels;
    const int64_t rows = used <= lanes / 4 ? lanes / 4 : smaller(ceil_div(used, lanes) * lanes, buffer_rows);
    const int64_t columns = smaller(ceil_div(R == Rows::channels ? b.pixels : b.channels, lanes) * lanes, width);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < columns; i += lanes) V::fill(0).store(reinterpret_cast<char*>(buffer + r * width + i));
  }

  // Returns 0 if there is no residual, because adding another step to a null pointer is undefined.
  ptrdiff_t residual_step(ptrdiff_t step) const { return b.residual ? step : 0; }

  // Returns a column of `tiles` tiles that begins at (pixel, channel). The last tile has `rows` rows. The last vector
  // of each row has `last` lanes in use. If results are stored to the buffer, the first row of results is row
  // `buffer_row` of the buffer.
  Column column(int64_t pixel, int64_t channel, int64_t tiles, int rows, int last, int64_t buffer_row) {
    constexpr int w = panel_width<T>();
    Column t;
    t.input_channels = b.input_channels;
    t.tiles = tiles;
    t.x = b.x + pixel * b.x_pixel;
    t.x_pixel = b.x_pixel;
    t.x_channel = b.x_channel;
    t.weights = b.weights + channel / w * b.panel + channel % w * item;
    t.panel = b.panel;
    t.bias = b.bias + channel * item;
    t.sums = !b.sums               ? nullptr
             : R == Rows::channels ? b.sums + channel * b.sums_row + pixel * item
                                   : b.sums + pixel * b.sums_row + channel * item;
    t.sums_row = b.sums_row;
    t.copy = nullptr;
    // Prefetching slows down pixel rows of narrower vectors. It also slows down channel rows whose lines share a few
    // sets of L1.
    const bool fetch = b.source != Level::l2;
    t.fetch = 0;
    t.ahead = nullptr;  // run_channel_rows() sets it
    t.ahead_channel = t.x_channel;
    if (fetch && R == Rows::channels && b.x_channel % 4096 != 0) t.fetch = width * item;
    if (fetch && sizeof(V) == 64 && R == Rows::pixels && b.x_channel == item && b.input_channels * item <= most_fetched)
      t.fetch = b.input_channels * item;
    t.rows = rows;
    if (direct) {
      t.y = b.y + pixel * b.y_pixel + channel * b.y_channel;
      t.residual = b.residual ? b.residual + pixel * b.residual_pixel + channel * b.residual_channel : nullptr;
      const bool rows_are_channels = R == Rows::channels;
      t.layout = {rows_are_channels ? b.y_channel : b.y_pixel,
                  residual_step(rows_are_channels ? b.residual_channel : b.residual_pixel), last,
                  b.stream && sizeof(V) == 64};
      t.epilogue = b.epilogue;
    } else {
      t.y = reinterpret_cast<char*>(buffer + buffer_row * width);
      t.residual = nullptr;
      // The buffer has room for all lanes, but channel rows must not read x beyond `last` lanes.
      t.layout = {width * item, 0, R == Rows::channels ? last : lanes, false};
      t.epilogue = {Number::of(lowest), nullptr, Inline::no, {}};
    }
    return t;
  }

  // Finishes the tiles in the buffer and stores them to y.
  void flush(int64_t pixel, int pixels, int64_t channel, int channels) {
    store_rows<V, R>(b, buffer, width, pixel, pixels, channel, channels);
  }
};

using ColumnFunction = void (*)(const Column&);

// The functions of channel rows. f[vectors - 1][rows - 1] is for tiles of `rows` rows and `vectors` vectors. Functions
// are compiled only for powers of two. For other numbers of rows, a tile computes unused rows and does not store them.
// Tiles that copy have MR rows.
template <class V, int MR, int NR, Last L, bool Copy>
struct ChannelRowColumns {
  ColumnFunction f[NR][MR];
  constexpr ChannelRowColumns() : f() { fill<NR>(); }
  template <int N>
  constexpr void fill() {
    fill_rows<N, Copy ? MR : 1>();
    if constexpr (N > 1) fill<N - 1>();
  }
  template <int N, int M>
  constexpr void fill_rows() {
    for (int r = M / 2; r < M; ++r) f[N - 1][r] = channel_rows_column<V, M, N, L, Copy>;
    if constexpr (2 * M <= MR) fill_rows<N, 2 * M>();
  }
};

// The functions of channel rows for the kind L of the last vector.
template <class V, int MR, int NR, Last L>
struct ChannelRowTables {
  ChannelRowColumns<V, MR, NR, L, false> plain;
  ChannelRowColumns<V, MR, NR, L, may_copy(sizeof(V))> copy;
};

// The functions of pixel rows. f[vectors - 1][rows - 1] is for tiles of `rows` rows and `vectors` vectors. Functions
// are compiled for every number of rows, because pixels are spread evenly over tiles.
template <class V, int MR, int NR>
struct PixelRowColumns {
  ColumnFunction f[NR][MR];
  constexpr PixelRowColumns() : f() { fill<NR, MR>(); }
  template <int N, int M>
  constexpr void fill() {
    f[N - 1][M - 1] = pixel_rows_column<V, M, N>;
    if constexpr (M > 1)
      fill<N, M - 1>();
    else if constexpr (N > 1)
      fill<N - 1, MR>();
  }
};

// Computes a block with channel rows. The outer loop is over pixels: the pixels of a tile stay in L1 while the tiles of
// a column read all weights.
template <class V, int MR, int NR>
void run_channel_rows(const Block& b) {
  static_assert(panel_width<typename V::Number>() % MR == 0, "a tile lies within a panel");
  static constexpr ChannelRowTables<V, MR, NR, Last::whole> whole;
  static constexpr ChannelRowTables<V, MR, NR, Last::part> part;
  static constexpr ChannelRowTables<V, MR, NR, V::has_halves ? Last::half : Last::part> half;
  BlockRunner<V, MR, NR, Rows::channels> runner(b);
  char* const copy_to = may_copy(sizeof(V)) ? b.copy : nullptr;
  const int64_t vectors = ceil_div(b.pixels, V::lanes), tiles = ceil_div(vectors, NR);
  const int64_t together = runner.direct ? b.channels : int64_t{MR} * runner.buffer_tiles;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = i * vectors / tiles, end = (i + 1) * vectors / tiles, pixel = begin * V::lanes;
    const int pixels = static_cast<int>(smaller(b.pixels, end * V::lanes) - pixel);
    const int last = pixels - static_cast<int>(end - begin - 1) * V::lanes;
    const ColumnFunction *f, *f_copy;
    const auto take = [&](const auto& tables) {
      f = tables.plain.f[end - begin - 1];
      f_copy = tables.copy.f[end - begin - 1];
    };
    if (last == V::lanes)
      take(whole);
    else if (last <= V::lanes / 2)
      take(half);
    else
      take(part);
    bool copied = false;
    int64_t channels = 0;
    const auto run = [&](int64_t first, int64_t channel, int64_t count, int rows) {
      if (count == 0) return;
      Column t = runner.column(pixel, channel, count, rows, last, channel - first);
      const ptrdiff_t row_bytes = (end - begin) * static_cast<ptrdiff_t>(sizeof(V));
      if (t.fetch > 0) t.ahead = t.x + row_bytes;
      if (copied) {
        t.x = copy_to;
        t.x_channel = row_bytes;
      } else if (copy_to && rows == MR) {
        t.copy = copy_to;
        if (channels > MR) t.fetch = 0;  // the other tiles of the column prefetch
      }
      (t.copy ? f_copy : f)[rows - 1](t);
      copied = copied || t.copy;
    };
    for (int64_t first = 0; first < b.channels; first += together) {
      channels = smaller(together, b.channels - first);
      const int64_t whole = channels / MR;
      const bool copies = copy_to && !copied && whole > 0;
      if (copies) run(first, first, 1, MR);
      run(first, first + copies * MR, whole - copies, MR);
      run(first, first + whole * MR, channels % MR != 0, static_cast<int>(channels % MR));
      if (!runner.direct) runner.flush(pixel, pixels, first, static_cast<int>(channels));
    }
  }
  if (b.stream) V::fence();
}

// Computes a block with pixel rows. The outer loop is over output channels: the weights of a tile stay in a cache while
// the tiles of a column read all pixels.
template <class V, int MR, int NR>
void run_pixel_rows(const Block& b) {
  constexpr int per_panel = panel_width<typename V::Number>() / V::lanes;
  static_assert(per_panel % NR == 0 || NR % per_panel == 0, "vectors of a tile are whole panels or lie within one");
  static constexpr PixelRowColumns<V, MR, NR> table;
  BlockRunner<V, MR, NR, Rows::pixels> runner(b);
  const int64_t vectors = ceil_div(b.channels, V::lanes), columns = ceil_div(vectors, NR);
  // Pixels are spread evenly over the tiles: the first `larger` tiles have one more pixel.
  const int64_t tiles = ceil_div(b.pixels, MR), larger = b.pixels % tiles, height = b.pixels / tiles;
  const int64_t together = runner.direct ? tiles : runner.buffer_tiles;
  for (int64_t j = 0; j < columns; ++j) {
    // If a tile may start at any vector, vectors are spread evenly: four vectors become 2 + 2, not 3 + 1.
    const int64_t begin = per_panel == 1 ? j * vectors / columns : j * NR;
    const int64_t end = per_panel == 1 ? (j + 1) * vectors / columns : smaller((j + 1) * NR, vectors);
    const int64_t channel = begin * V::lanes;
    const int channels = static_cast<int>(smaller(b.channels, end * V::lanes) - channel);
    const int last = channels - static_cast<int>(end - begin - 1) * V::lanes;
    for (int64_t tile = 0, first = 0; tile < tiles; tile += together) {
      const int64_t stop = smaller(tiles, tile + together), middle = larger < tile ? tile : smaller(larger, stop);
      int64_t pixel = first;
      const auto run = [&](int64_t count, int64_t rows) {
        if (count == 0) return;
        table.f[end - begin - 1][rows - 1](
            runner.column(pixel, channel, count, static_cast<int>(rows), last, pixel - first));
        pixel += count * rows;
      };
      if (MR > 1) run(middle - tile, height + 1);
      run(stop - middle, height);
      if (!runner.direct) runner.flush(first, static_cast<int>(pixel - first), channel, channels);
      first = pixel;
    }
  }
  if (b.stream) V::fence();
}

}  // namespace
}  // namespace pointwise
