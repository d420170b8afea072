#include "product/cycle_model.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"

namespace pointwise {
namespace {

// The machine of the cost model: two multiply-adds and two loads a cycle, 4 cycles from one multiply-add to the one
// that needs its result (5 on some older cores). Where AVX-512 has one unit, or half-width ones, all rows slow down
// alike.
constexpr double fma_per_cycle = 2, loads_per_cycle = 2, fma_latency = 4;
// Measured on Zen 5 (L1-resident tiles of every height): a broadcast that only one multiply-add uses is folded into
// it and costs a little more than a load.
constexpr double broadcast_load = 1.03;
// A tile's set-up and its stores, which the CPU overlaps with multiply-adds in part (measured on Zen 5, 16 to 64 input
// channels): with 32-byte vectors 9 to 45 cycles over the tile's multiply-adds; with 64-byte vectors 22 to 48 for tiles
// of 24 accumulators and 5 to 20 for those of 16, which leave room for more of the next tile.
constexpr double channel_tile_cycles = 19, pixel_tile_cycles = 8, vector_cycles = 0.6, row_cycles = 0.45;
constexpr double wide_accumulator_cycles = 2.1, wide_row_cycles = 1, hidden_by_channel_tiles = 20,
                 hidden_by_pixel_tiles = 28, least_wide_tile_cycles = 4, vector_beyond_4_cycles = 15;
// Where CPUs compute 64-byte vectors half by half, a cycle of the model is two of theirs. More of what is between the
// tiles of channel rows is hidden, and pixel rows that have a single vector of channels wait half as long for a
// multiply-add, which makes few rows the better choice: over their multiply-adds 4, 6, 8 and 12 rows take 3, 5, 8 and
// 17 cycles (Zen 4, 8 to 70 -> 1 to 16 channels in NHWC: up to 13% faster).
constexpr double hidden_by_half_width_channel_tiles = 28, single_latency = 2.2, single_row_cycles = 0.75,
                 single_row_beyond_cycles = 2.1, hidden_by_single_tiles = 8.5;
// Pixels of a tile of wide channel rows that fill more than this part of L1 come from L2, this fast (256 -> 128
// channels at 28x28, 4 x 4 vectors: 64% of the peak).
constexpr double l1_of_pixels = 1.0 / 3, l2_pixel_bytes_per_cycle = 20;
// A column of weights that is larger than this part of L1 comes no faster than this between 64-byte tiles' own loads (4
// x 4 vectors, 320 to 2048 input channels: 5 to 15% behind 6 x 4).
constexpr double l1_of_weights = 2.0 / 3, l2_wide_bytes_per_cycle = 28;
// Rows of narrow vectors copy a tile's pixels where they and its weights do not stay in L1 (256 -> 128 channels at
// 28x28, AVX2: 86 -> 96% of the peak), for this many channels at least (32: +8%, 24: -1%).
constexpr int64_t least_channels_to_copy = 32;
// One and a half vectors of channels of a pixel, where two pixels share one and CPUs compute it half by half: to join
// their factors takes the time of multiply-adds.
constexpr double half_width_pair_vectors = 1.9;
// Half a vector of channels alone loads a pixel for each multiply-add, as fast as these are (64 -> 8 channels, 200
// pixels in NHWC 3.7 -> 2.1 us, 256 -> 8 at 56x56 201 -> 137).
constexpr double half_vector_alone = 1.15;
// What it costs to copy a vector, and how much slower such rows are where they do not.
constexpr double copied_vector_cycles = 1, crowded_factor = 1.12;
// Ways of L1 that the rows of one tile may fill: 8 is the least that CPUs have.
constexpr double l1_ways = 8, thrash_cycles = 4;

// Pixel rows that use a few numbers of each line of src, as channels are far apart, and have no room in L1 for all
// lines until the next tile wants their other numbers. Measured on Zen 4, 6 x 2 vectors of 32 bytes, 64 to 832 input
// channels and images of 4x4 to 28x28, against pixels packed one by one: most images 0 to 3%, from 1 KiB a channel on
// 8% (images of 20x20 and 28x28). Images of 7x7, whose channels take three lines and a bit, are an oddity: 12 to 20%
// (6x6: 9%, 8x8: none). Packed by channels 2 to 6%. Tiles of 64-byte vectors take four times as long for a line, and do
// not notice.
constexpr double l1_of_scattered = 0.5, far_apart_factor = 1.08, three_lines_factor = 1.15, apart_factor = 1.02,
                 packed_apart_factor = 1.04;

// Whether the pixels of a tile of narrow channel rows and its weights are more than L1 holds. A row of src begins and
// ends within a line of 64 bytes; one more is of weights.
bool crowded(const Work& work, const KernelRow& row, int64_t input_channels) {
  const double vectors = row.nr * row.lanes * work.item;
  return row.rows == Rows::channels && may_copy(row.lanes * work.item) &&
         static_cast<double>(input_channels) * (vectors + 128) > static_cast<double>(work.l1);
}

bool wide(const Work& work, const KernelRow& row) { return row.lanes * work.item == 64; }

// Cycles of one step (one input channel) of a tile. The weights of a column of pixel rows stay in L1 from tile to tile,
// or else come from L2 each time. `idle`: what is not multiplied of the vectors; `in_l1`: pixels were packed there.
double step_cycles(const Work& work, const KernelRow& row, int64_t rows, int64_t vectors, double idle = 0,
                   bool in_l1 = false) {
  const double loads = row.rows == Rows::channels ? rows + 1.5 * vectors  // pixels are seldom 64-byte aligned
                       : vectors == 1             ? broadcast_load * rows + 1
                                                  : rows + vectors;
  const double bytes = static_cast<double>(vectors * row.lanes * work.item);
  const double inputs = static_cast<double>(work.input_channels), l1 = static_cast<double>(work.l1);
  double from_l2 = 0;
  if (row.rows == Rows::pixels)
    from_l2 = wide(work, row) && bytes * inputs > l1 * l1_of_weights ? bytes / l2_wide_bytes_per_cycle
              : bytes * inputs > l1 / 2                              ? bytes / l2_bytes_per_cycle
                                                                     : 0;
  else if (wide(work, row))
    from_l2 = !in_l1 && bytes * inputs > l1 * l1_of_pixels ? bytes / l2_pixel_bytes_per_cycle : 0;
  return std::max({rows * (vectors - idle) / fma_per_cycle, loads / loads_per_cycle, fma_latency, from_l2});
}

// What a step of the first tile of a column of wide channel rows takes longer: its pixels come from L2.
double first_step_cycles(const Work& work, const KernelRow& row, int64_t rows, int64_t vectors) {
  return std::max(0.0,
                  static_cast<double>(vectors * 64) / l2_pixel_bytes_per_cycle - step_cycles(work, row, rows, vectors));
}

// Cycles of a tile but for its steps.
double tile_overhead(const Work& work, const KernelRow& row, int64_t rows, int64_t vectors) {
  const bool channel_rows = row.rows == Rows::channels;
  if (!wide(work, row))
    return (channel_rows ? channel_tile_cycles : pixel_tile_cycles) + rows * row_cycles +
           rows * vectors * vector_cycles;
  const double hidden = !channel_rows     ? hidden_by_pixel_tiles
                        : work.half_width ? hidden_by_half_width_channel_tiles
                                          : hidden_by_channel_tiles;
  return std::max(least_wide_tile_cycles, rows * vectors * wide_accumulator_cycles - hidden) + rows * wide_row_cycles +
         std::max<int64_t>(0, vectors - 4) * vector_beyond_4_cycles;
}

// Cycles of a tile of pixels that has the only vector of channels.
double single_vector_tile(double steps, int64_t rows, double indirect) {
  const double height = static_cast<double>(rows);
  return steps * std::max(single_latency, height / fma_per_cycle) +
         std::max(single_row_cycles * height, single_row_beyond_cycles * height - hidden_by_single_tiles) +
         height * indirect;
}

// `count` in the fewest parts of at most `most`, spread evenly: how many parts have the smaller and the larger size.
struct Spread {
  int64_t size[2], parts[2];
};

Spread spread(int64_t count, int64_t most) {
  const int64_t parts = ceil_div(count, most), larger = count % parts;
  return {{count / parts, count / parts + 1}, {parts - larger, larger}};
}

int64_t power_of_two_above(int64_t n) {
  int64_t p = 1;
  while (p < n) p *= 2;
  return p;
}

}  // namespace

bool copies_pixels(const Work& work, const KernelRow& row, int64_t input_channels) {
  return work.channels >= least_channels_to_copy && crowded(work, row, input_channels);
}

double compute_cycles(const Work& work, const KernelRow& row, int64_t pixels, int64_t channels, double indirect) {
  const double steps = static_cast<double>(work.input_channels);  // products with it may be beyond int64
  const bool channel_rows = row.rows == Rows::channels;
  const bool single_vector = !channel_rows && wide(work, row) && work.half_width && channels <= row.lanes &&
                             pixels >= row.mr && work.src_channel == work.x_item;
  // Channels that lie side by side were packed, into L1 where a single row of tiles reads them.
  const bool in_l1 = channel_rows && channels <= row.mr && work.src_channel == work.x_item;
  const auto tile = [&](int64_t rows, int64_t vectors, double idle = 0) {
    if (single_vector) return single_vector_tile(steps, rows, indirect);
    return steps * step_cycles(work, row, rows, vectors, idle, in_l1) + tile_overhead(work, row, rows, vectors) +
           rows * vectors * indirect;
  };
  if (row.half != Half::padded && channels < row.lanes) {  // half a vector alone
    const double step = static_cast<double>(pixels) * half_vector_alone * (work.half_width ? 0.5 : 1) / fma_per_cycle;
    const double tiles = static_cast<double>(ceil_div(pixels, half_tile_height(0)));
    return steps * std::max(step, tiles * fma_latency / (work.half_width ? 2 : 1)) +
           static_cast<double>(pixels) * single_row_cycles;
  }
  if (row.half != Half::padded) {  // a half and what whole vectors share a tile with it, and before them tiles of 6 x 4
    const bool shared = row.half == Half::shared, halved = channels % row.lanes > 0;
    const int64_t all = channels / row.lanes, beside = !halved ? 0 : shared ? 1 : vectors_beside_half(all);
    const int64_t height = shared ? row.mr : half_tile_height(beside), tiles = ceil_div(pixels, height);
    const double vectors = shared ? work.half_width ? half_width_pair_vectors : 1.5
                                  : static_cast<double>(beside) + (work.half_width ? 0.5 : 1);
    const double step = static_cast<double>(shared ? tiles * row.mr : pixels) * vectors / fma_per_cycle;
    const double last = steps * std::max(step, static_cast<double>(tiles) * fma_latency) +
                        static_cast<double>(tiles) * (pixel_tile_cycles + static_cast<double>((beside + 1) * height) *
                                                                              (row_cycles + vector_cycles));
    return (halved ? last : 0) + static_cast<double>(pixels) * static_cast<double>(all - beside) / 24 * tile(6, 4);
  }
  const Spread lanes = spread(ceil_div(channel_rows ? pixels : channels, row.lanes), row.nr);
  const int64_t tail = channel_rows && channels % row.mr ? power_of_two_above(channels % row.mr) : 0;
  const auto channel_column = [&](int64_t vectors, double idle) {
    return channels / row.mr * tile(row.mr, vectors, idle) + (tail ? tile(tail, vectors, idle) : 0);
  };
  double cycles = 0;
  for (int i = 0; i < 2; ++i) {
    if (lanes.parts[i] == 0) continue;
    double column = 0;
    if (channel_rows) {
      column = channel_column(lanes.size[i], 0);
      const int64_t first = channels < row.mr ? tail : row.mr;
      if (wide(work, row) && !in_l1) column += steps * first_step_cycles(work, row, first, lanes.size[i]);
    } else {
      const Spread heights = spread(pixels, row.mr);
      for (int k = 0; k < 2; ++k)
        if (heights.parts[k]) column += heights.parts[k] * tile(heights.size[k], lanes.size[i]);
    }
    if (copies_pixels(work, row, work.input_channels))
      column += steps * lanes.size[i] * copied_vector_cycles;
    else if (crowded(work, row, work.input_channels))
      column *= crowded_factor;
    cycles += lanes.parts[i] * column;
  }
  const int64_t rest = pixels % row.lanes;
  if (channel_rows && wide(work, row) && work.half_width && rest > 0 && rest <= row.lanes / 2) {
    const int64_t last = lanes.size[lanes.parts[1] > 0];
    cycles -= channel_column(last, 0) - channel_column(last, 0.5);
  }
  const double weights = steps * static_cast<double>(channels * work.item);
  return cycles + (weights > work.l2 / 2 ? weights / l3_bytes_per_cycle : 0);
}

double thrash_factor(const KernelRow& row, ptrdiff_t x_pixel, int64_t pixels) {
  constexpr ptrdiff_t way = 4096;
  ptrdiff_t step = std::abs(x_pixel) % way, gcd = way;
  while (step) {
    const ptrdiff_t rest = gcd % step;
    gcd = step;
    step = rest;
  }
  const double sets = std::max<ptrdiff_t>(1, way / std::max<ptrdiff_t>(gcd, 64));
  const double rows = static_cast<double>(std::min<int64_t>(row.mr, pixels));
  return rows / sets > l1_ways ? 1 + (thrash_cycles - 1) / row.nr : 1;
}

double scattered_factor(const Work& work, const KernelRow& row, bool packed) {
  constexpr int64_t line = 64;
  const bool crowded =
      static_cast<double>(work.input_channels) * 2 * line > static_cast<double>(work.l1) * l1_of_scattered;
  const int64_t step = std::abs(static_cast<int64_t>(work.src_channel));
  if (wide(work, row) || !crowded || step < line) return 1;
  if (packed) return packed_apart_factor;
  if (step >= 16 * line) return far_apart_factor;
  return step > 2 * line && step < 4 * line && step % line != 0 ? three_lines_factor : apart_factor;
}

}  // namespace pointwise
