// Kernels for AVX-512, float32. A tile uses up to 28 of the 32 vector registers as accumulators.
#include "kernels/activation_table.h"
#include "kernels/diagonal.h"
#include "kernels/fma_loop.h"
#include "kernels/halves.h"
#include "kernels/int8_weights.h"
#include "kernels/interleaved.h"
#include "kernels/long_rows.h"
#include "kernels/pack.h"
#include "kernels/pairs.h"
#include "kernels/prelu.h"
#include "kernels/quads.h"
#include "kernels/unpacked.h"
#include "kernels/x86/avx512_float_vec.h"

namespace pointwise {
namespace {

using Vec = FloatVec<1>;

// Many tiles have 24 accumulators. Tiles of 9x3 and 14x2 vectors (27 and 28 accumulators) are not in the table. They
// load less for each multiply-add, but overlap less with the next tile, so they are slower below 200 input channels. A
// tile with 16 accumulators overlaps more, which suits short sums. docs/design/kernels.md has the measurements.
constexpr KernelRow rows[] = {
    {"gemm_f32_8x48_channels_avx512", all_f32, Rows::channels, Reads::pixels, 8, 3, 16, run_channel_rows<Vec, 8, 3>},
    {"gemm_f32_4x64_channels_avx512", all_f32, Rows::channels, Reads::pixels, 4, 4, 16, run_channel_rows<Vec, 4, 4>},
    {"gemm_f32_6x64_pixels_avx512", all_f32, Rows::pixels, Reads::any, 6, 4, 16, run_pixel_rows<Vec, 6, 4>},
    {"gemm_f32_4x64_pixels_avx512", all_f32, Rows::pixels, Reads::any, 4, 4, 16, run_pixel_rows<Vec, 4, 4>},
    {"gemm_f32_8x48_pixels_avx512", all_f32, Rows::pixels, Reads::any, 8, 3, 16, run_pixel_rows<Vec, 8, 3>},
    {"gemm_f32_12x32_pixels_avx512", all_f32, Rows::pixels, Reads::any, 12, 2, 16, run_pixel_rows<Vec, 12, 2>},
    {"gemm_f32_16x24_pairs_avx512", all_f32, Rows::pixels, Reads::any, 16, 2, 16,
     run_pair_rows<Vec, pair_row_pixels / 2>, pair_row_pixels, pairs_refuse, pairs_cycles},
    {"gemm_f32_12x24_halves_avx512", all_f32, Rows::pixels, Reads::any, 12, 2, 16, run_half_rows<Vec>, 1, halves_refuse,
     halves_cycles},
    {"gemm_f32_28x16_pixels_avx512", all_f32, Rows::pixels, Reads::any, 28, 1, 16, run_pixel_rows<Vec, 28, 1>},
    {"gemm_f32_2x128_pixels_avx512", all_f32, Rows::pixels, Reads::any, 2, 8, 16, run_pixel_rows<Vec, 2, 8>},
    {"gemm_f32_8x16_quads_avx512", all_f32, Rows::channels, Reads::channels, 8, 1, 16, run_quads<Vec>, 1, quads_refuse,
     quads_cycles},
    {"gemm_u8_8x16_quads_avx512", u8_to_f32, Rows::channels, Reads::channels, 8, 1, 16, run_byte_quads<Vec>, 1,
     byte_quads_refuse, byte_quads_cycles},
    {"gemm_f32_8x48_long_avx512", all_f32, Rows::channels, Reads::pixels, 8, 3, 16, run_long_rows<Vec, 8, 24>, 1,
     long_rows_refuse, long_rows_cycles, long_rows_room},
    {"gemm_f32_16x16_interleaved_avx512", all_f32, Rows::pixels, Reads::any, 16, 1, 16, run_interleaved<Vec, 28, 1>, 16,
     interleaved_refuse, interleaved_cycles, nullptr, true},
    {"gemm_u8u8_16x16_interleaved_avx512", u8_to_u8, Rows::pixels, Reads::any, 16, 1, 16,
     run_interleaved_integers<Vec, uint8_t>, 16, interleaved_integers_refuse, interleaved_integers_cycles, nullptr,
     true},
    {"gemm_f32_16x16_diagonal_avx512", all_f32, Rows::pixels, Reads::own, 16, 1, 16, run_diagonal<Vec>, 1, nullptr,
     diagonal_cycles},
};

}  // namespace

const KernelTable avx512_f32 = {all_of(rows),
                                pack_functions<Vec>,
                                convert_functions<Vec>,
                                scale_numbers<Vec>,
                                pack_weights_panel<Vec>,
                                multiply_unpacked<Vec>,
                                activations<Vec>,
                                fma_loop<Vec>,
                                prelu_numbers<Vec>,
                                1,
                                nullptr,
                                multiply_int8<Vec>,
                                scale_sums<Vec>};

}  // namespace pointwise
