// The constants of the cost model, in cycles and bytes per cycle: all that was fitted to machines stands here.
//
// They were fitted by hand to Zen 5 and Zen 4; where the two differ the constant says half-width, which is Zen 4 (see
// cpu_halves_avx512). Another CPU gets those of Zen 5.
#pragma once

#include <cstdint>

namespace pointwise {

// Tiles.

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
constexpr double channel_tile_cycles = 19, pixel_tile_cycles = 8, tile_vector_cycles = 0.6, tile_row_cycles = 0.45;
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
// Cycles for each copied vector, and the slowdown of such rows if they do not copy.
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

// Weights that do not stay in L1 (2 rows x 8 vectors, 64 and 256 input channels: 54 and 43).
constexpr double l2_bytes_per_cycle = 45;
// Weights that do not stay in L2 come from L3 once for every image; the CPU fetches most of them ahead.
constexpr double l3_bytes_per_cycle = 150;

// Packing, stores and pieces.

constexpr double call_cycles = 30;           // a kernel call
constexpr double transpose_cycles = 6;       // a vector that goes through the transposing store
constexpr double scatter_cycles = 2;         // a number that is stored alone
constexpr double copy_cycles = 2;            // a vector that is packed
constexpr double run_cycles = 3;             // a run of pixels side by side, in each channel
constexpr double gather_cycles = 1;          // a number that is packed alone
constexpr double transposed_cycles = 0.3;    // a number that is packed in a square that is transposed
constexpr double part_of_square_cycles = 6;  // a pixel's share of a square that is not full, or is partly done again
constexpr double copied_pixel_cycles = 1.5;  // the least that a pixel takes which is packed as it lies
constexpr double scale_cycles = 0.7;         // a vector of packed pixels that is scaled
constexpr double second_cycles = 0.7;        // a number that is packed where every second one is, in short rows
// Where CPUs compute 64-byte vectors half by half, a cycle of the model is two of theirs; these copies fit in between
// (64 -> 128 channels at 112x112 with stride 2 in NCHW: 82 -> 88% of the peak; generated layers in NHWC: 1.049 -> 1.034
// times the best way).
constexpr double half_width_copies = 0.65;
// 3 us of work a thread, below which a second one does not pay (a parallel region costs 1 to 2 us).
constexpr double least_cycles_a_thread = 12000;
// These fit the times of all layers of bench/layers above 5 MFLOP, cut in every way for two threads (times over the
// best cut: 1.018; with no wait for a late piece 1.020; whole tiles as units, 1.05). A piece costs its hand-out, a
// kernel call and what it finds in another core's cache; a last piece that starts late is waited for; a cut across what
// the tiles of a row stream over makes each piece stream it again.
constexpr double piece_cycles = 2400, late_piece = 0.02, cut_across = 1.02;
// A piece of more than 0.2 ms is too long to wait for where its core is slow (1.019 times the best cut with this).
constexpr double long_piece_cycles = 8e5, late_long_piece = 0.25;
// Where the channels of a pixel's results lie side by side, two threads that write different ones share a line of 64
// bytes a pixel. It costs nothing where they are far apart, and 100 to 200 cycles where they go side by side (16 -> 96
// channels at 112x112 in NHWC: 84 us cut by pixels, 291 by channels); this fits (1.056 times the best cut without it).
constexpr double shared_line_cycles = 20;
}  // namespace pointwise
