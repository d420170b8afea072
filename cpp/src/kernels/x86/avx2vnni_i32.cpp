// Integer kernels for AVX-VNNI. A step of bytes or words takes one instruction.
#include "kernels/x86/avx2_integers.h"

namespace pointwise {
namespace {

// Add the products of unsigned bytes of x and signed bytes of w. The second argument of the intrinsic has the unsigned
// bytes.
struct ChannelBytes {
  static __m256i add(__m256i sum, __m256i w, __m256i x) { return _mm256_dpbusd_avx_epi32(sum, x, w); }
};
struct PixelBytes {
  static __m256i add(__m256i sum, __m256i x, __m256i w) { return _mm256_dpbusd_avx_epi32(sum, x, w); }
};
struct Words {
  static __m256i add(__m256i sum, __m256i a, __m256i b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
};

}  // namespace

const IntegerKernels avx2vnni_i32 = {
    bytes_kernels<Vec256<ChannelBytes>, 4, 3, Vec256<PixelBytes>, 6, 2>("gemm_bytes_4x24_channels_avx2_vnni",
                                                                        "gemm_bytes_6x16_pixels_avx2_vnni"),
    words_kernels<Vec256<Words>, 4, 3, 6, 2>("gemm_words_4x24_channels_avx2_vnni", "gemm_words_6x16_pixels_avx2_vnni"),
    requantize<Vec256<Words>>};

}  // namespace pointwise
