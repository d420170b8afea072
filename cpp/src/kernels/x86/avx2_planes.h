// Loads and stores planes (planes.h) of 8 pixels, with AVX2. V has a member `v` of type __m256.
#pragma once

#include <immintrin.h>

#include "kernels/convert.h"

namespace pointwise {
namespace {

template <int a, int b, int c, int d>
inline __m256 pick(__m256 from, __m256 other) {  // numbers a and b of each half of `from`, c and d of `other`
  return _mm256_shuffle_ps(from, other, _MM_SHUFFLE(d, c, b, a));
}

// Loads 4 numbers at p, and 4 numbers at p + step into the upper half.
inline __m256 load_halves(const float* p, ptrdiff_t step) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
}
inline __m256 lower_halves(__m256 a, __m256 b) { return _mm256_insertf128_ps(a, _mm256_castps256_ps128(b), 1); }
inline __m256 upper_halves(__m256 a, __m256 b) { return _mm256_permute2f128_ps(a, b, 0x31); }

// The lower half of each register has pixels 0 to 3, and the upper half has pixels 4 to 7.
template <class V, int K>
POINTWISE_INLINE void load_float_planes(const float* p, V (&to)[K]) {
  if constexpr (K == 1) {
    to[0].v = _mm256_loadu_ps(p);
  } else if constexpr (K == 2) {
    const __m256 a = load_halves(p, 8), b = load_halves(p + 4, 8);
    to[0].v = pick<0, 2, 0, 2>(a, b);
    to[1].v = pick<1, 3, 1, 3>(a, b);
  } else if constexpr (K == 3) {  // a = x0 y0 z0 x1, b = y1 z1 x2 y2, c = z2 x3 y3 z3
    const __m256 a = load_halves(p, 12), b = load_halves(p + 4, 12), c = load_halves(p + 8, 12);
    const __m256 xy = pick<2, 3, 1, 2>(b, c), yz = pick<1, 2, 0, 1>(a, b);  // x2 y2 x3 y3, y0 z0 y1 z1
    to[0].v = pick<0, 3, 0, 2>(a, xy);
    to[1].v = pick<0, 2, 1, 3>(yz, xy);
    to[2].v = pick<1, 3, 0, 3>(yz, c);
  } else {
    static_assert(K == 4, "1 to 4 channels");
    __m256 a[4];
    POINTWISE_UNROLL
    for (int i = 0; i < 4; ++i) a[i] = load_halves(p + 4 * i, 16);
    const __m256 low01 = _mm256_unpacklo_ps(a[0], a[1]), low23 = _mm256_unpacklo_ps(a[2], a[3]);
    const __m256 high01 = _mm256_unpackhi_ps(a[0], a[1]), high23 = _mm256_unpackhi_ps(a[2], a[3]);
    to[0].v = pick<0, 1, 0, 1>(low01, low23);
    to[1].v = pick<2, 3, 2, 3>(low01, low23);
    to[2].v = pick<0, 1, 0, 1>(high01, high23);
    to[3].v = pick<2, 3, 2, 3>(high01, high23);
  }
}

template <class V, int K>
POINTWISE_INLINE void store_float_planes(const V (&from)[K], float* p) {
  if constexpr (K == 1) {
    _mm256_storeu_ps(p, from[0].v);
  } else if constexpr (K == 2) {
    const __m256 a = _mm256_unpacklo_ps(from[0].v, from[1].v), b = _mm256_unpackhi_ps(from[0].v, from[1].v);
    _mm256_storeu_ps(p, lower_halves(a, b));
    _mm256_storeu_ps(p + 8, upper_halves(a, b));
  } else if constexpr (K == 3) {
    const __m256 x = from[0].v, y = from[1].v, z = from[2].v;
    const __m256 xy = pick<0, 2, 0, 2>(x, y), yz = pick<1, 3, 1, 3>(y, z), zx = pick<0, 2, 1, 3>(z, x);
    const __m256 a = pick<0, 2, 0, 2>(xy, zx), b = pick<0, 2, 1, 3>(yz, xy), c = pick<1, 3, 1, 3>(zx, yz);
    _mm256_storeu_ps(p, lower_halves(a, b));
    _mm256_storeu_ps(p + 8, _mm256_blend_ps(c, a, 0xf0));
    _mm256_storeu_ps(p + 16, upper_halves(b, c));
  } else {
    static_assert(K == 4, "1 to 4 channels");
    const __m256 low01 = _mm256_unpacklo_ps(from[0].v, from[1].v), low23 = _mm256_unpacklo_ps(from[2].v, from[3].v);
    const __m256 high01 = _mm256_unpackhi_ps(from[0].v, from[1].v), high23 = _mm256_unpackhi_ps(from[2].v, from[3].v);
    const __m256 a = pick<0, 1, 0, 1>(low01, low23), b = pick<2, 3, 2, 3>(low01, low23);
    const __m256 c = pick<0, 1, 0, 1>(high01, high23), d = pick<2, 3, 2, 3>(high01, high23);
    _mm256_storeu_ps(p, lower_halves(a, b));
    _mm256_storeu_ps(p + 8, lower_halves(c, d));
    _mm256_storeu_ps(p + 16, upper_halves(a, b));
    _mm256_storeu_ps(p + 24, upper_halves(c, d));
  }
}

inline __m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline void store16(uint8_t* p, __m128i bytes) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes); }

// Moves the bytes of each channel to a register of int32, and converts them.
template <class V, int K>
POINTWISE_INLINE void load_byte_planes(const uint8_t* p, V (&to)[K]) {
  if constexpr (K == 1) {
    to[0] = V::convert(p);
  } else if constexpr (K == 2) {
    const __m256i pixels = _mm256_cvtepu16_epi32(load16(p));
    to[0] = V::converted(_mm256_and_si256(pixels, _mm256_set1_epi32(0xff)));
    to[1] = V::converted(_mm256_srli_epi32(pixels, 8));
  } else {
    constexpr int zeros = static_cast<int>(0x80808000u);
    const __m256i pixels = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p)), load16(p + 4 * K), 1);
    POINTWISE_UNROLL
    for (int c = 0; c < K; ++c) {
      const __m128i order = _mm_setr_epi32(zeros + c, zeros + K + c, zeros + 2 * K + c, zeros + 3 * K + c);
      to[c] = V::converted(_mm256_shuffle_epi8(pixels, _mm256_broadcastsi128_si256(order)));
    }
  }
}

// Rounds to integers below 256. NaN and numbers below the least int32_t become the least int32_t, so packing with
// saturation turns them into 0.
template <class V>
POINTWISE_INLINE __m256i rounded(V v) {
  return _mm256_cvtps_epi32(V::min(V::fill(255), v).v);
}

// Stores 8 pixels. With three channels, stores 4 bytes more.
template <class V, int K>
POINTWISE_INLINE void store_byte_planes(const V (&from)[K], uint8_t* p) {
  if constexpr (K == 1) {
    from[0].store_as(p);
  } else {
    const __m256i xy = _mm256_packs_epi32(rounded(from[0]), rounded(from[1]));
    const __m256i zw = K == 2   ? xy
                       : K == 3 ? _mm256_packs_epi32(rounded(from[2]), rounded(from[2]))
                                : _mm256_packs_epi32(rounded(from[2]), rounded(from[K - 1]));
    const __m256i planes = _mm256_packus_epi16(xy, zw);  // in each half, 4 bytes of each channel
    const __m128i order = K == 2   ? _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, -1, -1, -1, -1, -1, -1, -1, -1)
                          : K == 3 ? _mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1)
                                   : _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i pixels = _mm256_shuffle_epi8(planes, _mm256_broadcastsi128_si256(order));
    const __m128i lower = _mm256_castsi256_si128(pixels), upper = _mm256_extracti128_si256(pixels, 1);
    if constexpr (K == 2) {
      store16(p, _mm_unpacklo_epi64(lower, upper));
    } else {
      store16(p, lower);
      store16(p + 4 * K, upper);
    }
  }
}

}  // namespace
}  // namespace pointwise
