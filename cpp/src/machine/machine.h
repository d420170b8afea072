// The constants of the cost model, per machine, in cycles and bytes per cycle.
//
// Each machine has a file: zen4.cpp, zen5.cpp, and generic.cpp for every other CPU. cpp/tools/fit_cycle_model.py prints
// the error of the model on a machine, fits the constants and writes the file. The constants of Zen 4 and Zen 5 were
// fitted by hand, from the measurements that the comments below quote.
#pragma once

namespace pointwise {

struct Machine {
  const char* name;
  // Whether the CPU computes 64-byte vectors half by half, as Zen 4 does. Then a cycle of the model is two cycles of
  // the CPU for 64-byte vectors.
  bool half_width;

  // Tiles.

  // Multiply-adds and loads of vectors per cycle, and the latency of a multiply-add. A CPU with one AVX-512 unit, or
  // with half-width ones, slows all kernel rows down alike.
  double fma_per_cycle, loads_per_cycle, fma_latency;
  // The cost of a broadcast that only one multiply-add uses, in loads (Zen 5, tiles of every height in L1).
  double broadcast_load;
  // The set-up and the stores of a tile. The CPU hides a part of them behind multiply-adds. On Zen 5, with 16 to 64
  // input channels, a tile takes this many cycles more than its multiply-adds: 9 to 45 with 32-byte vectors, 22 to 48
  // with 64-byte vectors and 24 accumulators, 5 to 20 with 16 accumulators. Zen 4 hides more of them in channel rows.
  double channel_tile_cycles, pixel_tile_cycles, tile_vector_cycles, tile_row_cycles;
  double wide_accumulator_cycles, wide_row_cycles, hidden_by_channel_tiles, hidden_by_pixel_tiles;
  double least_wide_tile_cycles, vector_beyond_4_cycles;
  // Pixel rows with a single vector of channels, if half_width. The latency of a multiply-add is half as long, so low
  // tiles are better: 4, 6, 8 and 12 rows take 3, 5, 8 and 17 cycles more than their multiply-adds (Zen 4, 8 to 70 -> 1
  // to 16 channels in NHWC: up to 13% faster). single_row_cycles also counts for a half vector alone.
  double single_latency, single_row_cycles, single_row_beyond_cycles, hidden_by_single_tiles;
  // The cost of a half vector, in whole ones.
  double half_vector;
  // Slowdown of a half vector alone, because each multiply-add needs a load of its own (Zen 4, with this 64 -> 8
  // channels, 200 pixels in NHWC take 2.1 us instead of 3.7, and 256 -> 8 at 56x56 137 instead of 201).
  double half_vector_alone;
  // The cost of one and a half vectors when two pixels share one, in whole vectors. On Zen 4, joining the two pixels in
  // a vector takes the time of multiply-adds.
  double pair_vectors;
  // If the pixels of a tile of 64-byte channel rows fill more than this part of L1, they come from L2, this fast (Zen
  // 5, 256 -> 128 channels at 28x28, 4 x 4 vectors: 64% of the peak).
  double l1_of_pixels, l2_pixel_bytes_per_cycle;
  // The same for a column of weights and 64-byte pixel rows (Zen 5, 4 x 4 vectors, 320 to 2048 input channels: 5 to 15%
  // slower than 6 x 4).
  double l1_of_weights, l2_wide_bytes_per_cycle;
  // Rows of 32-byte vectors copy the pixels of a tile that do not fit L1 beside its weights, if there are at least this
  // many output channels (Zen 5, 256 -> 128 channels at 28x28, AVX2: 96% of the peak instead of 86; 32 channels are 8%
  // faster, 24 are 1% slower).
  double least_channels_to_copy;
  // Cycles of a copied vector, and the slowdown of those rows without a copy.
  double copied_vector_cycles, crowded_factor;
  // Ways of L1, of which CPUs have at least 8, and the slowdown if the rows of a tile need more of them.
  double l1_ways, thrash_cycles;

  // Slowdown of pixel-row kernels if src is contiguous along pixels, so that they use a few numbers of each line, and
  // L1 cannot keep all lines until the next tile (Zen 4, 6 x 2 vectors of 32 bytes, 64 to 832 input channels, images of
  // 4x4 to 28x28): 0 to 3% for most images, 8% from 1 KiB per channel on, 12 to 20% for 7x7 (6x6: 9%, 8x8: none), 2 to
  // 6% if src is packed by channels. Rows of 64-byte vectors do not slow down.
  double l1_of_scattered, far_apart_factor, three_lines_factor, apart_factor, packed_apart_factor;

  // Weights that do not fit L1 (Zen 5, 2 rows x 8 vectors, 64 and 256 input channels: 54 and 43).
  double l2_bytes_per_cycle;
  // Weights that do not fit L2. They come from L3 once per image, and the CPU prefetches most of them.
  double l3_bytes_per_cycle;

  // Packing, stores and pieces.

  double call_cycles;            // a kernel call
  double transpose_cycles;       // a vector of results that is stored transposed
  double scatter_cycles;         // a number that is stored alone
  double copy_cycles;            // a packed vector
  double run_cycles;             // a run of contiguous pixels, per channel
  double gather_cycles;          // a number that is packed alone
  double transposed_cycles;      // a number that is packed in a transposed square
  double part_of_square_cycles;  // the share of a pixel in a square that is not full, or is partly repeated
  double copied_pixel_cycles;    // a pixel whose channels are packed unchanged, at least
  double scale_cycles;           // a packed vector that is multiplied by input_scale
  double second_cycles;          // a packed number if every second one is taken, in short rows
  // Factor of the packing cycles above for rows of 64-byte vectors. On Zen 4 multiply-adds hide a part of packing (with
  // this, 64 -> 128 channels at 112x112 with stride 2 in NCHW reach 88% of the peak instead of 82, and the choices for
  // generated layers in NHWC take 1.034 times the best way instead of 1.049).
  double wide_copies;
  // The least work per thread, 3 us: a parallel region costs 1 to 2 us.
  double least_cycles_a_thread;
  // The cost of pieces: of each piece, of a last piece that starts late (a part of it), and of cutting along the axis
  // that the tiles of a kernel row stream (a factor). They fit the times of all layers of bench/layers above 5 MFLOP on
  // two threads: with these constants the choice takes 1.018 times the best cut.
  double piece_cycles, late_piece, cut_across;
  // The cycles from which a piece is long, and the part of the excess that counts once more, as its core may be slow.
  double long_piece_cycles, late_long_piece;
  // The cost per pixel if two threads write different channels of one line of results (16 -> 96 channels at 112x112 in
  // NHWC: 84 us cut by pixels, 291 by channels; without this the choice takes 1.056 times the best cut).
  double shared_line_cycles;
};

Machine zen4();
Machine zen5();
Machine generic();

// Returns the machine that this CPU is, or generic().
const Machine& machine();

// The names of the constants, for the tool that fits them.
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

// Replaces the machine that machine() returns. For that tool, and for tests.
void replace_machine(const Machine& machine);

}  // namespace pointwise
