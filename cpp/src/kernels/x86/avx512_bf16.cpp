// Kernels for AVX512-BF16, whose dot product multiplies pairs of channels of bfloat16 and adds them to sums in float32.
#include "kernels/block.h"
#include "kernels/dot.h"
#include "kernels/x86/avx512_float_vec.h"

namespace pointwise {
namespace {

using Vec = FloatVec<2>;

// Pairs of numbers of bfloat16, in 16 lanes of 32 bits.
struct Pairs {
  static __m512i bits(Vec a) { return _mm512_castps_si512(a.v); }
  static Vec from_bits(__m512i bits) { return {_mm512_castsi512_ps(bits)}; }
  static Vec even(Vec a) { return from_bits(_mm512_slli_epi32(bits(a), 16)); }
  static Vec odd(Vec a) { return from_bits(_mm512_slli_epi32(_mm512_srli_epi32(bits(a), 16), 16)); }
  static Vec join(__m512i even, __m512i odd) { return from_bits(_mm512_or_si512(even, _mm512_slli_epi32(odd, 16))); }
  static __m512i widened(const char* p) { return _mm512_cvtepu16_epi32(Vec::bytes32(p)); }
  static Vec load(const char* p, const char* q) {
    return join(widened(p), q == nullptr ? _mm512_setzero_si512() : widened(q));
  }
  static Vec scale(Vec a, Vec factors) {
    return join(Vec::rounded_bits(Vec::mul(even(a), even(factors))), Vec::rounded_bits(Vec::mul(odd(a), odd(factors))));
  }
};

// Multiplies pairs: the odd channels first, then the even channels.
POINTWISE_INLINE Vec accumulate(Vec a, Vec b, Vec sum) {
  return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}

constexpr Types bf16_to_f32{DType::bf16, DType::bf16, DType::f32, DType::f32};

// Has only two of the tiles of avx512_f32.cpp, one for each orientation. Each other tile would add much code.
constexpr KernelRow rows[] = {
    {"gemm_bf16_8x48_channels_avx512_bf16", bf16_to_f32, Rows::channels, Reads::pixels, 8, 3, 16,
     run_channel_rows<Vec, 8, 3>},
    {"gemm_bf16_12x32_pixels_avx512_bf16", bf16_to_f32, Rows::pixels, Reads::any, 12, 2, 16,
     run_pixel_rows<Vec, 12, 2>},
};

constexpr PackTable make_pack_functions() {
  PackTable table{};
  table.by_type[static_cast<int>(DType::bf16)] = {pack_pixels_dot<Vec, Pairs>, pack_run_dot};
  return table;
}

// Implements KernelTable::keeps_order.
bool keeps_order() {
  constexpr int trials = 256;
  uint32_t state = 1;
  const auto random = [&state] {
    state = state * 1664525 + 1013904223;
    return state ^ state >> 16;
  };
  for (int trial = 0; trial < trials; ++trial) {
    alignas(64) uint32_t a[16], b[16], sum[16];
    for (int i = 0; i < 16; ++i) {
      // In half of the trials, magnitudes are between 1/128 and 2, so that rounding errors matter. In the other trials,
      // exponents are arbitrary.
      const uint32_t keep = trial % 2 ? 0xffffffff : 0x83ff83ff, near_one = trial % 2 ? 0 : 0x3c003c00;
      a[i] = (random() & keep) | near_one;
      b[i] = (random() & keep) | near_one;
      sum[i] = (random() & keep) | near_one;
    }
    const Vec x = Vec::load(reinterpret_cast<const char*>(a)), y = Vec::load(reinterpret_cast<const char*>(b));
    const Vec start = Vec::load(reinterpret_cast<const char*>(sum));
    const Vec odd = Vec::fma(Pairs::odd(x), Pairs::odd(y), start);
    const Vec expected = Vec::fma(Pairs::even(x), Pairs::even(y), odd), got = accumulate(x, y, start);
    const __mmask16 numbers = _mm512_cmp_ps_mask(expected.v, expected.v, _CMP_ORD_Q);
    if (_mm512_mask_cmpneq_epi32_mask(numbers, Pairs::bits(expected), Pairs::bits(got)) != 0) return false;
    if (_mm512_cmp_ps_mask(got.v, got.v, _CMP_ORD_Q) != numbers) return false;
  }
  return true;
}

}  // namespace

const KernelTable avx512_bf16 = {all_of(rows),
                                 make_pack_functions(),
                                 {},
                                 scale_pairs<Vec, Pairs>,
                                 pack_weights_dot<Vec>,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 2,
                                 keeps_order};

}  // namespace pointwise
