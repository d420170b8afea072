// Kernels for AVX2 and FMA, float64. A tile uses up to 12 of the 16 vector registers as accumulators.
#include <immintrin.h>

#include "kernels/activation_table.h"
#include "kernels/block.h"
#include "kernels/convert.h"
#include "kernels/diagonal.h"
#include "kernels/fma_loop.h"
#include "kernels/long_rows.h"
#include "kernels/pack.h"
#include "kernels/prelu.h"
#include "kernels/quads.h"
#include "kernels/unpacked.h"

namespace pointwise {
namespace {

struct Vec {
  using Number = double;
  using Mask = __m256i;
  static constexpr int lanes = 4, step = 1;
  static constexpr bool has_halves = false;
  __m256d v;

  static Vec fill(double number) { return {_mm256_set1_pd(number)}; }
  static Vec broadcast(const char* p) { return {_mm256_set1_pd(read<double>(p))}; }
  static Mask first(int n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }
  static Vec load(const char* p) { return {_mm256_loadu_pd(reinterpret_cast<const double*>(p))}; }
  static Vec load(const char* p, Mask mask) { return {_mm256_maskload_pd(reinterpret_cast<const double*>(p), mask)}; }
  void store(char* p) const { _mm256_storeu_pd(reinterpret_cast<double*>(p), v); }
  void store(char* p, Mask mask) const { _mm256_maskstore_pd(reinterpret_cast<double*>(p), mask, v); }
  void stream(char* p) const { _mm256_stream_pd(reinterpret_cast<double*>(p), v); }
  static void fence() { _mm_sfence(); }
  void keep_in_register() { asm("" : "+x"(v)); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  static Vec add(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v)}; }
  static Vec max(Vec a, Vec b) { return {_mm256_max_pd(a.v, b.v)}; }

  static Vec sub(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  static Vec mul(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v)}; }
  static Vec div(Vec a, Vec b) { return {_mm256_div_pd(a.v, b.v)}; }
  static Vec min(Vec a, Vec b) { return {_mm256_min_pd(a.v, b.v)}; }
  static Vec rest(Vec a, Vec b, Vec ab) { return {_mm256_fmsub_pd(a.v, b.v, ab.v)}; }
  static Vec select_less(Vec a, Vec b, Vec x, Vec y) {
    return {_mm256_blendv_pd(y.v, x.v, _mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ))};
  }
  static Vec abs(Vec a) { return {_mm256_andnot_pd(fill(-0.0f).v, a.v)}; }
  static Vec copysign(Vec a, Vec sign) { return {_mm256_or_pd(abs(a).v, _mm256_and_pd(fill(-0.0f).v, sign.v))}; }
  static Vec exponent(Vec z) { return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(z.v), 52))}; }

  // Transposes 4 x 4 numbers in two steps, which exchange 1 x 1 and 2 x 2 squares.
  static void transpose(Vec (&m)[4]) {
    const __m256d a = _mm256_unpacklo_pd(m[0].v, m[1].v), b = _mm256_unpackhi_pd(m[0].v, m[1].v);
    const __m256d c = _mm256_unpacklo_pd(m[2].v, m[3].v), d = _mm256_unpackhi_pd(m[2].v, m[3].v);
    m[0].v = _mm256_permute2f128_pd(a, c, 0x20);
    m[1].v = _mm256_permute2f128_pd(b, d, 0x20);
    m[2].v = _mm256_permute2f128_pd(a, c, 0x31);
    m[3].v = _mm256_permute2f128_pd(b, d, 0x31);
  }
  static void load_square(const char* p, ptrdiff_t step, Vec (&m)[lanes]) { load_and_transpose(p, step, m); }

  // Loads the quads of 4 pixels. Register i first holds the quads of pixels i and i + 2. Then squares of 2 x 2 numbers
  // are transposed.
  static void load_quads(const char* const (&first)[2], ptrdiff_t step, Vec (&m)[2]) {
    __m256d a[2];
    POINTWISE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const auto quad = [&](int group) {
        return _mm_loadu_pd(reinterpret_cast<const double*>(first[group] + i * step));
      };
      a[i] = _mm256_insertf128_pd(_mm256_castpd128_pd256(quad(0)), quad(1), 1);
    }
    m[0].v = _mm256_unpacklo_pd(a[0], a[1]);
    m[1].v = _mm256_unpackhi_pd(a[0], a[1]);
  }
};

constexpr KernelRow rows[] = {
    {"gemm_f64_4x12_channels_avx2", all_f64, Rows::channels, Reads::pixels, 4, 3, 4, run_channel_rows<Vec, 4, 3>},
    {"gemm_f64_6x8_pixels_avx2", all_f64, Rows::pixels, Reads::any, 6, 2, 4, run_pixel_rows<Vec, 6, 2>},
    {"gemm_f64_12x4_pixels_avx2", all_f64, Rows::pixels, Reads::any, 12, 1, 4, run_pixel_rows<Vec, 12, 1>},
    {"gemm_f64_1x32_pixels_avx2", all_f64, Rows::pixels, Reads::any, 1, 8, 4, run_pixel_rows<Vec, 1, 8>},
    {"gemm_f64_8x4_quads_avx2", all_f64, Rows::channels, Reads::channels, 8, 1, 4, run_quads<Vec>, 1, quads_refuse,
     quads_cycles},
    {"gemm_f64_6x8_long_avx2", all_f64, Rows::channels, Reads::pixels, 6, 2, 4, run_long_rows<Vec, 6, 12>, 1,
     long_rows_refuse, long_rows_cycles, long_rows_room},
    {"gemm_f64_16x4_diagonal_avx2", all_f64, Rows::pixels, Reads::own, 16, 1, 4, run_diagonal<Vec>, 1, nullptr,
     diagonal_cycles},
};

}  // namespace

const KernelTable avx2_f64 = {all_of(rows),       pack_functions<Vec>,     convert_functions<Vec>,
                              scale_numbers<Vec>, pack_weights_panel<Vec>, multiply_unpacked<Vec>,
                              activations<Vec>,   fma_loop<Vec>,           prelu_numbers<Vec>};

}  // namespace pointwise
