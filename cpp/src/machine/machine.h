// What the cost model knows of a CPU: constants that were fitted to measurements, in cycles and bytes a cycle.
//
// One file a machine: zen4.cpp, zen5.cpp, and generic.cpp for all others. cpp/tools/fit_cycle_model.py measures a
// machine, prints how far the model is off, fits constants and writes such a file. Those of Zen 4 and Zen 5 were fitted
// by hand, before there was that tool; the measurements that they came from stand here.
#pragma once

namespace pointwise {

struct Machine {
  const char* name;
  // 64-byte vectors are computed half by half, as on Zen 4. A cycle of the model is two of such a machine's, where it
  // computes them.
  bool half_width;

  // Tiles.

  // Multiply-adds and loads of vectors, and cycles from one multiply-add to the one that needs its result (5 on some
  // older cores). Where AVX-512 has one unit, or half-width ones, all rows slow down alike.
  double fma_per_cycle, loads_per_cycle, fma_latency;
  // Loads that a broadcast counts for which only one multiply-add uses: it is folded into it (Zen 5, tiles of every
  // height in L1).
  double broadcast_load;
  // A tile's set-up and its stores, which the CPU overlaps with multiply-adds in part. Zen 5, 16 to 64 input channels:
  // with 32-byte vectors 9 to 45 cycles over the tile's multiply-adds; with 64-byte vectors 22 to 48 for tiles of 24
  // accumulators and 5 to 20 for those of 16, which leave room for more of the next tile. Zen 4 hides more of what is
  // between the tiles of channel rows.
  double channel_tile_cycles, pixel_tile_cycles, tile_vector_cycles, tile_row_cycles;
  double wide_accumulator_cycles, wide_row_cycles, hidden_by_channel_tiles, hidden_by_pixel_tiles;
  double least_wide_tile_cycles, vector_beyond_4_cycles;
  // Pixel rows that have a single vector of channels, with half_width: they wait half as long for a multiply-add, which
  // makes few rows the better choice. Over their multiply-adds 4, 6, 8 and 12 rows take 3, 5, 8 and 17 cycles (Zen 4, 8
  // to 70 -> 1 to 16 channels in NHWC: up to 13% faster). The cycles of a row are also those of half a vector alone.
  double single_latency, single_row_cycles, single_row_beyond_cycles, hidden_by_single_tiles;
  // Half a vector, in whole ones.
  double half_vector;
  // Half a vector alone loads a pixel for each multiply-add: by so much it is slower than these (Zen 4, 64 -> 8
  // channels, 200 pixels in NHWC 3.7 -> 2.1 us, 256 -> 8 at 56x56 201 -> 137).
  double half_vector_alone;
  // One and a half vectors of channels of a pixel, where two pixels share one. On Zen 4, to join their factors takes
  // the time of multiply-adds.
  double pair_vectors;
  // Pixels of a tile of wide channel rows that fill more than this part of L1 come from L2, this fast (Zen 5, 256 ->
  // 128 channels at 28x28, 4 x 4 vectors: 64% of the peak).
  double l1_of_pixels, l2_pixel_bytes_per_cycle;
  // A column of weights that is larger than this part of L1 comes no faster than this between 64-byte tiles' own loads
  // (Zen 5, 4 x 4 vectors, 320 to 2048 input channels: 5 to 15% behind 6 x 4).
  double l1_of_weights, l2_wide_bytes_per_cycle;
  // Rows of narrow vectors copy a tile's pixels where they and its weights do not stay in L1 (Zen 5, 256 -> 128
  // channels at 28x28, AVX2: 86 -> 96% of the peak), for this many channels at least (32: +8%, 24: -1%).
  double least_channels_to_copy;
  // Cycles for each copied vector, and the slowdown of such rows if they do not copy.
  double copied_vector_cycles, crowded_factor;
  // Ways of L1 that the rows of one tile may fill (8 is the least that CPUs have), and the slowdown beyond.
  double l1_ways, thrash_cycles;

  // Pixel rows that use a few numbers of each line of src, as channels are far apart, and have no room in L1 for all
  // lines until the next tile wants their other numbers. Zen 4, 6 x 2 vectors of 32 bytes, 64 to 832 input channels and
  // images of 4x4 to 28x28, against pixels packed one by one: most images 0 to 3%, from 1 KiB a channel on 8% (images
  // of 20x20 and 28x28). Images of 7x7, whose channels take three lines and a bit, are an oddity: 12 to 20% (6x6: 9%,
  // 8x8: none). Packed by channels 2 to 6%. Tiles of 64-byte vectors take four times as long for a line, and do not
  // notice.
  double l1_of_scattered, far_apart_factor, three_lines_factor, apart_factor, packed_apart_factor;

  // Weights that do not stay in L1 (Zen 5, 2 rows x 8 vectors, 64 and 256 input channels: 54 and 43).
  double l2_bytes_per_cycle;
  // Weights that do not stay in L2 come from L3 once for every image; the CPU fetches most of them ahead.
  double l3_bytes_per_cycle;

  // Packing, stores and pieces.

  double call_cycles;            // a kernel call
  double transpose_cycles;       // a vector that goes through the transposing store
  double scatter_cycles;         // a number that is stored alone
  double copy_cycles;            // a vector that is packed
  double run_cycles;             // a run of pixels side by side, in each channel
  double gather_cycles;          // a number that is packed alone
  double transposed_cycles;      // a number that is packed in a square that is transposed
  double part_of_square_cycles;  // a pixel's share of a square that is not full, or is partly done again
  double copied_pixel_cycles;    // the least that a pixel takes which is packed as it lies
  double scale_cycles;           // a vector of packed pixels that is scaled
  double second_cycles;          // a number that is packed where every second one is, in short rows
  // What packing for rows of 64-byte vectors takes of its cycles above: on Zen 4 copies fit in between multiply-adds
  // (64
  // -> 128 channels at 112x112 with stride 2 in NCHW: 82 -> 88% of the peak; generated layers in NHWC: 1.049 -> 1.034
  // times the best way).
  double wide_copies;
  // Work of a thread below which a second one does not pay: 3 us (a parallel region costs 1 to 2 us).
  double least_cycles_a_thread;
  // These fit the times of all layers of bench/layers above 5 MFLOP, cut in every way for two threads (times over the
  // best cut: 1.018; with no wait for a late piece 1.020; whole tiles as units, 1.05). A piece costs its hand-out, a
  // kernel call and what it finds in another core's cache; a last piece that starts late is waited for; a cut across
  // what the tiles of a row stream over makes each piece stream it again.
  double piece_cycles, late_piece, cut_across;
  // A piece of more than 0.2 ms is too long to wait for where its core is slow (1.019 times the best cut with this).
  double long_piece_cycles, late_long_piece;
  // Where the channels of a pixel's results lie side by side, two threads that write different ones share a line of 64
  // bytes a pixel. It costs nothing where they are far apart, and 100 to 200 cycles where they go side by side (16 ->
  // 96 channels at 112x112 in NHWC: 84 us cut by pixels, 291 by channels); this fits (1.056 times the best cut without
  // it).
  double shared_line_cycles;
};

Machine zen4();
Machine zen5();
Machine generic();

// Returns what is known of this CPU.
const Machine& machine();

// The constants by their names, for the tool that fits them.
struct MachineConstant {
  const char* name;
  double Machine::* value;
};
inline constexpr MachineConstant machine_constants[] = {
    {"fma_per_cycle", &Machine::fma_per_cycle},
    {"loads_per_cycle", &Machine::loads_per_cycle},
    {"fma_latency", &Machine::fma_latency},
    {"broadcast_load", &Machine::broadcast_load},
    {"channel_tile_cycles", &Machine::channel_tile_cycles},
    {"pixel_tile_cycles", &Machine::pixel_tile_cycles},
    {"tile_vector_cycles", &Machine::tile_vector_cycles},
    {"tile_row_cycles", &Machine::tile_row_cycles},
    {"wide_accumulator_cycles", &Machine::wide_accumulator_cycles},
    {"wide_row_cycles", &Machine::wide_row_cycles},
    {"hidden_by_channel_tiles", &Machine::hidden_by_channel_tiles},
    {"hidden_by_pixel_tiles", &Machine::hidden_by_pixel_tiles},
    {"least_wide_tile_cycles", &Machine::least_wide_tile_cycles},
    {"vector_beyond_4_cycles", &Machine::vector_beyond_4_cycles},
    {"single_latency", &Machine::single_latency},
    {"single_row_cycles", &Machine::single_row_cycles},
    {"single_row_beyond_cycles", &Machine::single_row_beyond_cycles},
    {"hidden_by_single_tiles", &Machine::hidden_by_single_tiles},
    {"half_vector", &Machine::half_vector},
    {"half_vector_alone", &Machine::half_vector_alone},
    {"pair_vectors", &Machine::pair_vectors},
    {"l1_of_pixels", &Machine::l1_of_pixels},
    {"l2_pixel_bytes_per_cycle", &Machine::l2_pixel_bytes_per_cycle},
    {"l1_of_weights", &Machine::l1_of_weights},
    {"l2_wide_bytes_per_cycle", &Machine::l2_wide_bytes_per_cycle},
    {"least_channels_to_copy", &Machine::least_channels_to_copy},
    {"copied_vector_cycles", &Machine::copied_vector_cycles},
    {"crowded_factor", &Machine::crowded_factor},
    {"l1_ways", &Machine::l1_ways},
    {"thrash_cycles", &Machine::thrash_cycles},
    {"l1_of_scattered", &Machine::l1_of_scattered},
    {"far_apart_factor", &Machine::far_apart_factor},
    {"three_lines_factor", &Machine::three_lines_factor},
    {"apart_factor", &Machine::apart_factor},
    {"packed_apart_factor", &Machine::packed_apart_factor},
    {"l2_bytes_per_cycle", &Machine::l2_bytes_per_cycle},
    {"l3_bytes_per_cycle", &Machine::l3_bytes_per_cycle},
    {"call_cycles", &Machine::call_cycles},
    {"transpose_cycles", &Machine::transpose_cycles},
    {"scatter_cycles", &Machine::scatter_cycles},
    {"copy_cycles", &Machine::copy_cycles},
    {"run_cycles", &Machine::run_cycles},
    {"gather_cycles", &Machine::gather_cycles},
    {"transposed_cycles", &Machine::transposed_cycles},
    {"part_of_square_cycles", &Machine::part_of_square_cycles},
    {"copied_pixel_cycles", &Machine::copied_pixel_cycles},
    {"scale_cycles", &Machine::scale_cycles},
    {"second_cycles", &Machine::second_cycles},
    {"wide_copies", &Machine::wide_copies},
    {"least_cycles_a_thread", &Machine::least_cycles_a_thread},
    {"piece_cycles", &Machine::piece_cycles},
    {"late_piece", &Machine::late_piece},
    {"cut_across", &Machine::cut_across},
    {"long_piece_cycles", &Machine::long_piece_cycles},
    {"late_long_piece", &Machine::late_long_piece},
    {"shared_line_cycles", &Machine::shared_line_cycles},
};

// Replaces what machine() returns: for that tool, and tests.
void replace_machine(const Machine& machine);

}  // namespace pointwise
