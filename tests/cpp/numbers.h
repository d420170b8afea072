// Pseudo-random numbers for tests, and the error bound of results. The numbers are the same in every run.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "pointwise/pointwise.h"

namespace pointwise_tests {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  // Returns an integer in [low, high].
  int64_t integer(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
  }
  bool one_in(int n) { return integer(1, n) == 1; }
  // Returns a number in [-1, 1) with all digits of a double.
  double real() { return std::ldexp(static_cast<double>(next() >> 11), -52) - 1; }

 private:
  uint64_t next() {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

// Returns a small integer. Sums of a few thousand products of such integers are exact in float32, in any order.
template <class T>
T small_integer(Random& random) {
  return static_cast<T>(random.integer(-4, 4));
}

template <class T>
std::vector<T> small_integers(int64_t count, Random& random) {
  std::vector<T> numbers(static_cast<size_t>(count));
  for (T& v : numbers) v = small_integer<T>(random);
  return numbers;
}

template <class T>
std::vector<T> reals(int64_t count, Random& random) {
  std::vector<T> numbers(static_cast<size_t>(count));
  for (T& v : numbers) v = static_cast<T>(random.real());
  return numbers;
}

template <class T>
constexpr pointwise::DType dtype_of() {
  using pointwise::DType;
  if (std::is_floating_point_v<T>) return sizeof(T) == 4 ? DType::f32 : DType::f64;
  if (sizeof(T) == 1) return std::is_signed_v<T> ? DType::i8 : DType::u8;
  return std::is_signed_v<T> ? DType::i16 : DType::u16;
}

// Returns a sum in the canonical order, in chunks of 256 input channels. The first chunk begins with the bias. add(i,
// sum) must return `sum` plus the product of input channel i. Sanitizers skip this function, because it takes most of
// the time of the kernel tests.
template <class T, class Add>
__attribute__((no_sanitize("address", "undefined"))) T canonical_sum(T bias, int64_t inputs, const Add& add) {
  T total = bias;
  for (int64_t begin = 0; begin < inputs; begin += 256) {
    T sum = begin == 0 ? bias : T{0};
    for (int64_t i = begin; i < std::min<int64_t>(begin + 256, inputs); ++i) sum = add(i, sum);
    total = begin == 0 ? sum : total + sum;
  }
  return total;
}

// Returns the largest error that an element may have. An element is the sum of `inputs` products, a bias and a
// residual. `magnitude` is the sum of the absolute values of these terms.
template <class T>
double error_bound(int64_t inputs, double magnitude) {
  const int64_t chunks = (inputs + 255) / 256;
  const double u = std::numeric_limits<T>::epsilon() / 2;
  const double n = static_cast<double>(std::min<int64_t>(inputs, 256) + chunks + 2);
  const double tiny = static_cast<double>(inputs + chunks + 1) * std::numeric_limits<T>::denorm_min();
  return n * u / (1 - n * u) * magnitude + tiny;
}

// Returns true if the error of `got` is within the bound. `want` may have been rounded once to T. If `got` or `want` is
// NaN, returns false.
template <class T>
bool within_bound(T got, T want, int64_t inputs, double magnitude) {
  const double u = std::numeric_limits<T>::epsilon() / 2;
  const long double error = std::fabs(static_cast<long double>(got) - static_cast<long double>(want));
  return error <= error_bound<T>(inputs, magnitude) + u * std::fabs(static_cast<double>(want));
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace pointwise_tests
