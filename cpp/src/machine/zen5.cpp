// The constants of AMD's Zen 5, fitted by hand. The four constants of a single vector (single_latency and the next
// three) were fitted on Zen 4, because only half-width machines use them. The constants of aliased channels and of
// interleaved products were fitted on Emerald Rapids.
#include "machine/machine.h"

namespace pointwise {

Machine zen5() {
  Machine m{};
  m.name = "zen5";
  m.half_width = false;
  m.fma_per_cycle = 2;
  m.loads_per_cycle = 2;
  m.fma_latency = 4;
  m.broadcast_load = 1.03;
  m.channel_tile_cycles = 19;
  m.pixel_tile_cycles = 8;
  m.tile_vector_cycles = 0.6;
  m.tile_row_cycles = 0.45;
  m.wide_accumulator_cycles = 2.1;
  m.wide_row_cycles = 1;
  m.hidden_by_channel_tiles = 20;
  m.hidden_by_pixel_tiles = 28;
  m.least_wide_tile_cycles = 4;
  m.vector_beyond_4_cycles = 15;
  m.single_latency = 2.2;
  m.single_row_cycles = 0.75;
  m.single_row_beyond_cycles = 2.1;
  m.hidden_by_single_tiles = 8.5;
  m.half_vector = 1;
  m.half_vector_alone = 1.15;
  m.pair_vectors = 1.5;
  m.quad_pixel_cycles = 0.5;
  m.quad_vector_cycles = 6;
  m.strip_vector_cycles = 3;
  m.interleaved_call_cycles = 20;
  m.interleaved_input_cycles = 0.6;
  m.converted_vector_cycles = 4;
  m.interleaved_vector_cycles = 1.25;
  m.long_call_cycles = 40;
  m.long_pass_cycles = 1;
  m.l1_of_pixels = 1.0 / 3;
  m.l2_pixel_bytes_per_cycle = 20;
  m.l1_of_weights = 2.0 / 3;
  m.l2_wide_bytes_per_cycle = 28;
  m.least_channels_to_copy = 32;
  m.copied_vector_cycles = 1;
  m.crowded_factor = 1.12;
  m.l1_ways = 8;
  m.thrash_cycles = 4;
  m.l1_of_scattered = 0.5;
  m.far_apart_factor = 1.08;
  m.three_lines_factor = 1.15;
  m.apart_factor = 1.02;
  m.packed_apart_factor = 1.04;
  m.aliased_channels = 64;
  m.aliased_factor = 1.2;
  m.hidden_aliased_channels = 256;
  m.factor_per_aliased_channel = 1.0 / 512;
  m.most_aliased_factor = 2.4;
  m.tlb_pages = 96;
  m.paged_factor = 1;
  m.l2_bytes_per_cycle = 45;
  m.short_run_bytes_per_cycle = 3;
  m.l3_bytes_per_cycle = 150;
  m.memory_bytes_per_cycle = 6;
  m.memory_wait = 0.3;
  m.call_cycles = 30;
  m.transpose_cycles = 6;
  m.scatter_cycles = 2;
  m.copy_cycles = 2;
  m.run_cycles = 3;
  m.gather_cycles = 1;
  m.transposed_cycles = 0.3;
  m.part_of_square_cycles = 6;
  m.copied_pixel_cycles = 1.5;
  m.scale_cycles = 0.7;
  m.second_cycles = 0.7;
  m.wide_copies = 1;
  m.least_cycles_a_thread = 12000;
  m.piece_cycles = 2400;
  m.late_piece = 0.02;
  m.cut_across = 1.02;
  m.long_piece_cycles = 8e5;
  m.late_long_piece = 0.25;
  m.shared_line_cycles = 20;
  return m;
}

}  // namespace pointwise
