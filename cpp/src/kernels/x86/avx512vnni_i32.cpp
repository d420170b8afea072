// Integer kernels for AVX512-VNNI. A step of bytes or words takes one instruction.
#include "kernels/x86/avx512_integers.h"

namespace pointwise {
namespace {

// Add the products of unsigned bytes of x and signed bytes of w. The second argument of the intrinsic has the unsigned
// bytes.
struct ChannelBytes {
  static __m512i add(__m512i sum, __m512i w, __m512i x) { return _mm512_dpbusd_epi32(sum, x, w); }
};
struct PixelBytes {
  static __m512i add(__m512i sum, __m512i x, __m512i w) { return _mm512_dpbusd_epi32(sum, x, w); }
};
struct Words {
  static __m512i add(__m512i sum, __m512i a, __m512i b) { return _mm512_dpwssd_epi32(sum, a, b); }
};

}  // namespace

const IntegerKernels avx512vnni_i32 = {
    bytes_kernels<Vec512<ChannelBytes>, 8, 3, Vec512<PixelBytes>, 12, 2>("gemm_bytes_8x48_channels_avx512_vnni",
                                                                         "gemm_bytes_12x32_pixels_avx512_vnni"),
    words_kernels<Vec512<Words>, 8, 3, 12, 2>("gemm_words_8x48_channels_avx512_vnni",
                                              "gemm_words_12x32_pixels_avx512_vnni"),
    requantize<Vec512<Words>>};

}  // namespace pointwise
