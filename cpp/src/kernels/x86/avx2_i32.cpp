// Integer kernels for AVX2 without VNNI. A step of words takes two instructions, and the product of two words needs a
// register. Products of bytes (vpmaddubsw) are not used, because they saturate.
#include "kernels/x86/avx2_integers.h"

namespace pointwise {
namespace {

struct Words {
  static __m256i add(__m256i sum, __m256i a, __m256i b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
};
using Vec = Vec256<Words>;

}  // namespace

const IntegerKernels avx2_i32 = {
    {},
    words_kernels<Vec, 4, 2, 6, 2>("gemm_words_4x16_channels_avx2", "gemm_words_6x16_pixels_avx2"),
    requantize<Vec>};

}  // namespace pointwise
