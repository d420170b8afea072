// The constants of the cost model (product/cycle_model.cpp) for each machine.
//
// Each machine has a file: zen4.cpp, zen5.cpp, and generic.cpp for all remaining CPUs. cpp/tools/fit_cycle_model.py
// prints the error of the model on a machine, fits the constants and writes the file of the machine. The constants of
// Zen 4 and Zen 5 were fitted by hand. Comments below quote measurements for some of the constants.
#pragma once

namespace pointwise {

// Units: names in _cycles are in cycles, and names in _bytes_per_cycle in bytes per cycle. Factors multiply cycles.
// Tiles with 64-byte vectors are called wide, and tiles with shorter vectors narrow.
struct Machine {
  const char* name;
  // True if the CPU computes a 64-byte vector in two halves, as Zen 4 does. On such a CPU, one cycle of the model
  // stands for two CPU cycles if vectors have 64 bytes.
  bool half_width;

  // Multiply-adds. If a CPU has half-width units or a single AVX-512 unit, all whole 64-byte vectors slow down by the
  // same factor. So the number and width of the units do not change the choice among kernel rows with whole 64-byte
  // vectors.

  double fma_per_cycle,  // multiply-adds of vectors per cycle
      loads_per_cycle,   // loads of vectors per cycle
      fma_latency;       // latency of a multiply-add, in cycles
  // Cost of a broadcast that only one multiply-add uses. The unit is one load. (Fitted on Zen 5 to tiles of every
  // height with operands in L1.)
  double broadcast_load;

  // Overhead of a tile: its set-up and its stores. The CPU hides a part of this overhead behind multiply-adds. In wide
  // channel rows, Zen 4 hides more than Zen 5. (Zen 5, 16 to 64 input channels: a narrow tile has an overhead of 9 to
  // 45 cycles. A wide tile has 22 to 48 cycles with 24 accumulators, and 5 to 20 cycles with 16 accumulators.)

  double channel_tile_cycles,      // a narrow tile of channel rows
      pixel_tile_cycles,           // a narrow tile of pixel rows, or a tile with a half vector or pairs
      tile_vector_cycles,          // each accumulator of a narrow tile, or of a tile with a half vector or pairs
      tile_row_cycles;             // each row of a tile as in the line above
  double wide_accumulator_cycles,  // each accumulator of a wide tile
      wide_row_cycles,             // each row of a wide tile
      hidden_by_channel_tiles,     // cycles that multiply-adds hide in a wide tile of channel rows
      hidden_by_pixel_tiles;       // cycles that multiply-adds hide in a wide tile of pixel rows
  double least_wide_tile_cycles,   // minimum for all accumulators of a wide tile, after the hidden part
      vector_beyond_4_cycles;      // each vector beyond the fourth in the rows of a wide tile
  // The next four constants apply to wide pixel rows if all output channels fit one vector and `half_width` is true. In
  // this case a cycle of the model is two CPU cycles, so the latency of a multiply-add is about half as many cycles. So
  // tiles with few rows are better. The overhead of a tile grows from 3 cycles for 4 rows to 17 cycles for 12 rows (Zen
  // 4). The model takes the larger of two figures: `single_row_cycles` * rows, and `single_row_beyond_cycles` * rows -
  // `hidden_by_single_tiles`. With these constants, NHWC layers of 8 to 70 input channels and 1 to 16 output channels
  // are up to 13% faster (Zen 4).
  double single_latency,         // latency of a multiply-add, in cycles
      single_row_cycles,         // minimum for a row; also each row of a tile that has only a half vector
      single_row_beyond_cycles,  // each row, before `hidden_by_single_tiles` is subtracted
      hidden_by_single_tiles;    // cycles that multiply-adds hide in a tile

  // Half vectors and pairs.

  // Cost of a half vector. The unit is one whole vector.
  double half_vector;
  // Factor for the cycles of tiles that have only a half vector. Each multiply-add of such a tile needs a separate
  // load. (Zen 4, NHWC: with this constant the planner chooses faster kernel rows. 256 -> 8 channels at 56x56 take 137
  // us, without it 201 us.)
  double half_vector_alone;
  // Cost of a pixel in pairs, with one and a half vectors of output channels. The unit is one whole vector. On Zen 4,
  // joining two pixels in a vector takes time from multiply-adds.
  double pair_vectors;

  // Few output channels (kernels/few_outputs.cpp).

  double quad_pixel_cycles,       // loading a quad of a pixel and transposing it
      quad_vector_cycles,         // each vector of pixels in quads
      strip_vector_cycles,        // each vector of results of quads and long rows
      interleaved_call_cycles,    // a kernel call for an interleaved product
      interleaved_input_cycles,   // each input channel of a group of pixels of an interleaved product
      converted_vector_cycles,    // converting a vector of results that the kernel has stored
      interleaved_vector_cycles,  // each group of pixels of an interleaved product
      long_call_cycles,           // a pass of long rows over a strip
      long_pass_cycles;           // loading and storing a vector of sums in long rows

  // Operands that do not fit L1 or L2.

  // If the pixels of a wide tile of channel rows fill more than the share `l1_of_pixels` of L1, the tile reads them
  // from L2. `l2_pixel_bytes_per_cycle` is the rate. (Zen 5, 256 -> 128 channels at 28x28: tiles of 4 rows x 4 vectors
  // reach only 64% of the peak.)
  double l1_of_pixels, l2_pixel_bytes_per_cycle;
  // The same two constants for the weights of a column of wide pixel rows. (Zen 5, 320 to 2048 input channels: tiles of
  // 4 rows x 4 vectors are 5 to 15% slower than tiles of 6 rows x 4 vectors.)
  double l1_of_weights, l2_wide_bytes_per_cycle;
  // Minimum number of output channels for copies. Narrow channel rows copy the pixels of a tile if L1 cannot hold the
  // pixels and weights of a tile. (Zen 5, 256 -> 128 channels at 28x28, AVX2: 96% of the peak with copies, 86% without.
  // With copies, a layer with 32 output channels is 8% faster, and a layer with 24 output channels is 1% slower.)
  double least_channels_to_copy;
  double copied_vector_cycles,  // a vector that is copied
      crowded_factor;           // factor for tiles that do not copy, although L1 cannot hold their pixels and weights
  double l1_ways,               // ways of L1 that the rows of a tile can use at a time; CPUs have at least 8
      thrash_cycles;            // factor (not cycles) for a tile of one vector if its rows need more ways than l1_ways
  // Slowdown of narrow pixel rows if pixels are contiguous in src. A tile uses a few numbers of each cache line, and L1
  // may not keep all lines until the next tile. Wide pixel rows do not slow down. (Zen 4, tiles of 6 rows x 2 vectors
  // of 32 bytes, 64 to 832 input channels. Most images of 4x4 to 28x28 are 0 to 3% slower. Images of 7x7 are 12 to 20%
  // slower, and images with 1 KiB or more per channel 8%. Images that are packed by channels are 2 to 6% slower.)
  double l1_of_scattered,   // share of L1; the factors apply if the lines fill more than this share
      far_apart_factor,     // factor if channels are 1 KiB apart or more
      three_lines_factor,   // factor if channels are 2 to 4 lines apart, but not a whole number of lines, as in 7x7
      apart_factor,         // factor for other distances of a line or more
      packed_apart_factor;  // factor if src is packed by channels
  // Slowdown of tiles that read src in place, if pixels are contiguous. If input channels are a multiple of 4 KiB
  // apart, all lines of a tile share a few sets of L1 and L2. (Emerald Rapids, AVX-512, 256 output channels at 64x64:
  // in place 123, 70 and 55 GFLOP/s with 128, 512 and 2048 input channels; packed by channels 154, 144 and 138
  // GFLOP/s.)
  double aliased_channels,         // the factor applies from this number of input channels on
      aliased_factor,              // factor up to `hidden_aliased_channels` input channels
      hidden_aliased_channels,     // number of input channels
      factor_per_aliased_channel,  // increase of the factor for each further input channel
      most_aliased_factor;         // maximum of the factor
  // Slowdown of tiles that read src in place, if pixels are contiguous and the input channels lie in more pages than
  // the first level of the TLB can serve. (Emerald Rapids, AVX-512, whose first level has 96 entries: 512 -> 256
  // channels at 28x28, in 392 pages, in place 135 GFLOP/s, packed by channels 155 GFLOP/s. With 98 to 110 pages, packed
  // pixels are 3 to 7% slower, with 147 and more pages up to 12% faster.)
  double tlb_pages,  // number of pages
      paged_factor;  // factor if input channels lie in more pages
  // Rate of weights from L2, if the weights of a column of pixel rows fill more than half of L1. (Zen 5, tiles of 2
  // rows x 8 vectors: 54 bytes per cycle with 64 input channels, 43 bytes per cycle with 256 input channels.)
  double l2_bytes_per_cycle;
  // Rate of src from beyond L2, if a kernel reads short runs of many input channels. (Zen 4, 200 input channels at
  // 1024x1024: 9 to 11 GB/s. One thread reads contiguous memory at 23 to 30 GB/s.)
  double short_run_bytes_per_cycle;
  // Rate of weights from L3, if the weights fill more than half of L2. The weights come from L3 once per image, and the
  // CPU prefetches most of them.
  double l3_bytes_per_cycle;
  // Predictions for operands in memory. Src and weights are read from memory, and the lines of dst are read, too,
  // before they are written. The product takes as long as the longer of two parts, the computation and the reading,
  // plus `memory_wait` times the shorter part.
  double memory_bytes_per_cycle,  // rate at which one thread reads memory; the unit is a cycle of the CPU
      memory_wait;                // share of the shorter part

  // Packing and stores.

  double call_cycles;            // a kernel call
  double transpose_cycles;       // a vector of results that is stored transposed
  double scatter_cycles;         // a number that is stored alone
  double copy_cycles;            // 32 bytes that are packed by copying
  double run_cycles;             // minimum for packing one range of contiguous pixels of one input channel
  double gather_cycles;          // a number that is packed alone
  double transposed_cycles;      // a number that is packed in a transposed square
  double part_of_square_cycles;  // each pixel (or channel) whose numbers do not fill its last transposed square
  double copied_pixel_cycles;    // minimum for copying the contiguous channels of a pixel
  double scale_cycles;           // 32 packed bytes that are multiplied by input_scale
  double second_cycles;          // a packed number if the pixels of src are two numbers apart
  // Factor for transposed_cycles, part_of_square_cycles and second_cycles in wide kernel rows. On Zen 4, multiply-adds
  // hide a part of packing. (Zen 4, 64 -> 128 channels at 112x112 with stride 2 in NCHW: 88% of the peak with this
  // constant, 82% without.)
  double wide_copies;

  // Threads and pieces.

  // Minimum work of each thread, in cycles: about 3 us.
  double least_cycles_a_thread;
  // The cost of pieces. The next five constants were fitted on Zen 5 to times of two threads, for all layers of
  // bench/layers above 5 MFLOP.
  double piece_cycles,       // each piece
      late_piece,            // share of the largest piece that the model adds, because the last piece starts late
      cut_across;            // factor if a cut divides the columns of tiles
  double long_piece_cycles,  // a piece that takes more cycles than this is long
      late_long_piece;       // share of the cycles above `long_piece_cycles` that the model adds for slow cores
  // Additional cycles of each pixel if two threads write different output channels of one cache line of dst. (Zen 5, 16
  // -> 96 channels at 112x112 in NHWC: 84 us if cut by pixels, 291 us if cut by channels.)
  double shared_line_cycles;
};

Machine zen4();
Machine zen5();
Machine golden_cove();
Machine generic();

// Returns the machine of this CPU. For unknown CPUs, this is generic().
const Machine& machine();

// The name of a constant and the member that holds it.
struct MachineConstant {
  const char* name;
  double Machine::* value;
};
// All constants, for cpp/tools/fit_cycle_model.py and tests.
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
    {"quad_pixel_cycles", &Machine::quad_pixel_cycles},
    {"quad_vector_cycles", &Machine::quad_vector_cycles},
    {"strip_vector_cycles", &Machine::strip_vector_cycles},
    {"interleaved_call_cycles", &Machine::interleaved_call_cycles},
    {"interleaved_input_cycles", &Machine::interleaved_input_cycles},
    {"converted_vector_cycles", &Machine::converted_vector_cycles},
    {"interleaved_vector_cycles", &Machine::interleaved_vector_cycles},
    {"long_call_cycles", &Machine::long_call_cycles},
    {"long_pass_cycles", &Machine::long_pass_cycles},
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
    {"aliased_channels", &Machine::aliased_channels},
    {"aliased_factor", &Machine::aliased_factor},
    {"hidden_aliased_channels", &Machine::hidden_aliased_channels},
    {"factor_per_aliased_channel", &Machine::factor_per_aliased_channel},
    {"most_aliased_factor", &Machine::most_aliased_factor},
    {"tlb_pages", &Machine::tlb_pages},
    {"paged_factor", &Machine::paged_factor},
    {"l2_bytes_per_cycle", &Machine::l2_bytes_per_cycle},
    {"short_run_bytes_per_cycle", &Machine::short_run_bytes_per_cycle},
    {"l3_bytes_per_cycle", &Machine::l3_bytes_per_cycle},
    {"memory_bytes_per_cycle", &Machine::memory_bytes_per_cycle},
    {"memory_wait", &Machine::memory_wait},
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
