// Kernels for any CPU, float32. These kernels assume 16 vector registers. A tile uses 8 registers as accumulators. The
// other registers hold operands and products, because these kernels have no fused multiply-add.
#include "kernels/int8_weights.h"
#include "kernels/portable/portable_vec.h"

namespace pointwise {
namespace {

using Vec = PortableVec<float>;

constexpr KernelRow rows[] = {
    {"gemm_f32_4x8_channels_portable", all_f32, Rows::channels, Reads::pixels, 4, 2, 4, run_channel_rows<Vec, 4, 2>},
    {"gemm_f32_4x8_pixels_portable", all_f32, Rows::pixels, Reads::any, 4, 2, 4, run_pixel_rows<Vec, 4, 2>},
};

}  // namespace

const KernelTable portable_f32 = {all_of(rows),
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
