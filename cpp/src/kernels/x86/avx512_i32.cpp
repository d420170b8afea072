// Integer kernels for AVX-512 without VNNI. A step of words takes two instructions, and the product of two words needs
// a register.
#include "kernels/x86/avx512_integers.h"

namespace pointwise {
namespace {

struct Words {
  static __m512i add(__m512i sum, __m512i a, __m512i b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
};
using Vec = Vec512<Words>;

}  // namespace

const IntegerKernels avx512_i32 = {
    {},
    words_kernels<Vec, 8, 2, 12, 2>("gemm_words_8x32_channels_avx512", "gemm_words_12x32_pixels_avx512"),
    requantize<Vec>};

}  // namespace pointwise
