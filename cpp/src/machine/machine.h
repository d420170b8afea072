// The constants of the cost model (product/cycle_model.cpp), for each machine.
//
// Each machine has a file: zen4.cpp, zen5.cpp, and generic.cpp for every other CPU. cpp/tools/fit_cycle_model.py prints
// the error of the model on a machine, fits the constants and writes the file. The constants of Zen 4 and Zen 5 were
// fitted by hand, from the measurements that the comments below quote.
#pragma once

namespace pointwise {

// Units: names in _cycles are in cycles, and names in _bytes_per_cycle in bytes per cycle. Factors multiply cycles.
// Tiles with 64-byte vectors are called wide, and tiles with shorter vectors narrow.
struct Machine {
  const char* name;
  // True if the CPU computes a 64-byte vector in two halves, as Zen 4 does. Then a cycle of the model is two cycles of
  // the CPU for 64-byte vectors.
  bool half_width;

  // Multiply-adds. A CPU with half-width units, or with one AVX-512 unit, slows down all kernel rows alike.

  double fma_per_cycle,  // multiply-adds of vectors per cycle
      loads_per_cycle,   // loads of vectors per cycle
      fma_latency;       // latency of a multiply-add, in cycles
  // Cost of a broadcast that only one multiply-add uses, in loads (Zen 5, tiles of every height in L1).
  double broadcast_load;

  // Overhead of a tile: its set-up and its stores. The CPU hides a part of them behind multiply-adds. Zen 4 hides more
  // of them in wide channel rows. (Zen 5, 16 to 64 input channels, cycles beside the multiply-adds: 9 to 45 with
  // 32-byte vectors. With 64-byte vectors 22 to 48 for 24 accumulators, 5 to 20 for 16.)

  double channel_tile_cycles,      // a narrow tile of channel rows
      pixel_tile_cycles,           // a narrow tile of pixel rows, or a tile with a half vector or pairs
      tile_vector_cycles,          // each accumulator of these tiles
      tile_row_cycles;             // each row of these tiles
  double wide_accumulator_cycles,  // each accumulator of a wide tile
      wide_row_cycles,             // each row of a wide tile
      hidden_by_channel_tiles,     // cycles of the accumulators that multiply-adds hide in channel rows
      hidden_by_pixel_tiles;       // the same in pixel rows
  double least_wide_tile_cycles,   // all accumulators of a wide tile, at least
      vector_beyond_4_cycles;      // each vector beyond the fourth in the rows of a wide tile
  // Pixel rows with a single vector of output channels, if half_width. The latency of a multiply-add is half as long,
  // so low tiles are better: tiles of 4, 6, 8 and 12 rows take 3, 5, 8 and 17 cycles more than their multiply-adds.
  // (Zen 4, 8 to 70 -> 1 to 16 channels in NHWC: up to 13% faster with these constants.) The overhead of a tile is the
  // larger of single_row_cycles * rows and single_row_beyond_cycles * rows - hidden_by_single_tiles.
  double single_latency,         // latency of a multiply-add, in cycles
      single_row_cycles,         // a row, at least; also a row of a half vector alone
      single_row_beyond_cycles,  // a row, of which multiply-adds hide a part
      hidden_by_single_tiles;    // cycles of a tile that multiply-adds hide

  // Half vectors and pairs.

  // Cost of a half vector, in whole vectors.
  double half_vector;
  // Factor of a half vector alone: each of its multiply-adds needs a load of its own. (Zen 4 in NHWC, time of the
  // choice with this constant: 64 -> 8 channels on 200 pixels 2.1 us instead of 3.7, 256 -> 8 at 56x56 137 instead of
  // 201.)
  double half_vector_alone;
  // Cost of one and a half vectors of output channels if two pixels share a vector, in whole vectors. On Zen 4, joining
  // the two pixels in a vector takes time from multiply-adds.
  double pair_vectors;

  // Operands that do not fit L1 or L2.

  // If the pixels of a wide tile of channel rows fill more than this share of L1, they come from L2 at this rate. (Zen
  // 5, 256 -> 128 channels at 28x28, 4 x 4 vectors: 64% of the peak.)
  double l1_of_pixels, l2_pixel_bytes_per_cycle;
  // The same for the weights of a column of wide pixel rows. (Zen 5, 4 x 4 vectors, 320 to 2048 input channels: 5 to
  // 15% slower than 6 x 4.)
  double l1_of_weights, l2_wide_bytes_per_cycle;
  // Least number of output channels for copies. Narrow channel rows copy the pixels of a tile if the pixels do not fit
  // L1 beside the weights of the tile. (Zen 5, 256 -> 128 channels at 28x28, AVX2: 96% of the peak instead of 86. 32
  // output channels are 8% faster, 24 are 1% slower.)
  double least_channels_to_copy;
  double copied_vector_cycles,  // a vector that is copied
      crowded_factor;           // factor of these tiles without a copy
  double l1_ways,               // ways of L1 that the rows of a tile can use at a time; CPUs have at least 8
      thrash_cycles;            // in spite of its name a factor, of a tile of one vector whose rows need more ways
  // Slowdown of narrow pixel rows if pixels are contiguous in src. A tile uses a few numbers of each line, and L1 may
  // not keep all lines until the next tile. Wide pixel rows do not slow down. (Zen 4, 6 x 2 vectors of 32 bytes, 64 to
  // 832 input channels, images of 4x4 to 28x28: most images are 0 to 3% slower, those of 1 KiB per channel or more 8%.
  // 6x6 is 9% slower, 7x7 12 to 20%, 8x8 not at all. Images that are packed by channels are 2 to 6% slower.)
  double l1_of_scattered,   // the factors apply if the lines fill more than this share of L1
      far_apart_factor,     // channels are 1 KiB apart or more
      three_lines_factor,   // channels are between 2 and 4 lines apart, but not by whole lines: 7x7
      apart_factor,         // other distances of a line or more
      packed_apart_factor;  // src is packed by channels
  // Rate of weights from L2, if those of a column of pixel rows fill more than half of L1. (Zen 5, 2 rows x 8 vectors,
  // 64 and 256 input channels: 54 and 43 bytes per cycle.)
  double l2_bytes_per_cycle;
  // Rate of weights from L3, if they fill more than half of L2. They come from L3 once per image, and the CPU
  // prefetches most of them.
  double l3_bytes_per_cycle;

  // Packing and stores.

  double call_cycles;            // a kernel call
  double transpose_cycles;       // a vector of results that is stored transposed
  double scatter_cycles;         // a number that is stored alone
  double copy_cycles;            // 32 bytes that are packed by copying
  double run_cycles;             // a run of contiguous pixels, for each input channel, at least
  double gather_cycles;          // a number that is packed alone
  double transposed_cycles;      // a number that is packed in a transposed square
  double part_of_square_cycles;  // a pixel's share of a square that is not full or is partly packed twice
  double copied_pixel_cycles;    // a pixel whose contiguous channels are copied, at least
  double scale_cycles;           // 32 packed bytes that are multiplied by input_scale
  double second_cycles;          // a packed number if every second one is packed, in short runs
  // Factor of transposed_cycles, part_of_square_cycles and second_cycles for wide kernel rows. On Zen 4 multiply-adds
  // hide a part of packing. (Zen 4, with this constant: 64 -> 128 channels at 112x112 with stride 2 in NCHW reach 88%
  // of the peak instead of 82. The choices for generated layers in NHWC take 1.034 times the best way instead of
  // 1.049.)
  double wide_copies;

  // Threads and pieces.

  // Least cycles of work for each thread, about 3 us.
  double least_cycles_a_thread;
  // The cost of pieces, fitted to the times of all layers of bench/layers above 5 MFLOP on two threads. With these
  // constants the choice takes 1.018 times the best cut (Zen 5).
  double piece_cycles,       // each piece
      late_piece,            // share of the largest piece that counts once more, because the last piece starts late
      cut_across;            // factor of a cut along the axis that the tiles of a kernel row stream
  double long_piece_cycles,  // a piece that takes more cycles is long
      late_long_piece;       // share of the excess that counts once more, because the core of a long piece may be slow
  // Cycles of each pixel if two threads write different output channels of one line of dst. (Zen 5, 16 -> 96 channels
  // at 112x112 in NHWC: 84 us if cut by pixels, 291 by channels. Without this constant the choice takes 1.056 times the
  // best cut.)
  double shared_line_cycles;
};

Machine zen4();
Machine zen5();
Machine generic();

// Returns the machine of this CPU, which is generic() for an unknown one.
const Machine& machine();

// A constant by its name.
struct MachineConstant {
  const char* name;
  double Machine::* value;
};
// All constants, for the tool that fits them.
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

// Replaces the machine that machine() returns. Only cpp/tools/fit_cycle_model.py and tests call it.
void replace_machine(const Machine& machine);

}  // namespace pointwise
