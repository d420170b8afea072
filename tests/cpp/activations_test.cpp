// Compares the activations of the kernels with their definitions in a wider type. The arguments are samples of all
// numbers, numbers near a change of formula, NaN, infinities and zeros. bench/activation_errors.cpp tries all float32
// numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "guarded.h"
#include "kernels/activation_reference.h"
#include "kernels/registry.h"
#include "numbers.h"

namespace pointwise_tests {
namespace {

using pointwise::Activation;
using Kind = Activation::Kind;
using Wide = long double;

struct Case {
  const char* name;
  Kind kind;
  double f32_ulps, f64_ulps;
  double a = 0, b = 0;  // parameters; float32 holds them exactly
};

const double infinite = std::numeric_limits<double>::infinity();

const Case cases[] = {
    {"relu6", Kind::relu6, 0, 0},
    {"clip", Kind::clip, 0, 0, -1.25, 2.5},
    {"clip_below", Kind::clip, 0, 0, -0.5, infinite},
    {"clip_above", Kind::clip, 0, 0, -infinite, 0.5},
    {"leaky_relu", Kind::leaky_relu, 0.501, 0.501, 0.01f},
    {"elu", Kind::elu, 2, 4, 1.6732632f},
    {"sigmoid", Kind::sigmoid, 2, 4},
    {"tanh", Kind::tanh, 2, 4},
    {"silu", Kind::silu, 2, 4},
    {"hardsigmoid", Kind::hardsigmoid, 2, 4},
    {"hardswish", Kind::hardswish, 2, 4},
    {"gelu", Kind::gelu, 4, 4},
    {"gelu_tanh", Kind::gelu_tanh, 4, 4},
    {"softplus", Kind::softplus, 4, 4},
    {"mish", Kind::mish, 4, 4},
};

template <class T>
std::vector<T> apply(const Case& c, const std::vector<T>& numbers) {
  const pointwise::KernelTable& table = pointwise::kernels(dtype_of<T>());
  const size_t lanes = static_cast<size_t>(table.rows[0].lanes), vectors = (numbers.size() + lanes - 1) / lanes;
  const pointwise::Number parameters[2] = {pointwise::Number::of(static_cast<T>(c.a)),
                                           pointwise::Number::of(static_cast<T>(c.b))};
  std::vector<T> room(vectors * lanes + 64 / sizeof(T));
  T* aligned = room.data();
  while (reinterpret_cast<uintptr_t>(aligned) % 64 != 0) ++aligned;
  std::copy(numbers.begin(), numbers.end(), aligned);
  char* const bytes = reinterpret_cast<char*>(aligned);
  const int64_t count = static_cast<int64_t>(vectors);
  table.activations[static_cast<int>(c.kind)](parameters, bytes, count, bytes, count, 0);
  return std::vector<T>(aligned, aligned + numbers.size());
}

// Returns an empty string if `got` is right for v. Otherwise describes the error.
template <class T>
std::string complaint(const Case& c, T v, T got) {
  const Wide want = pointwise::reference_activation<Wide>({c.kind, c.a, c.b}, v);
  const double ulps = sizeof(T) == 4 ? c.f32_ulps : c.f64_ulps;
  int exponent;
  std::frexp(want, &exponent);
  exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
  const int digits = std::numeric_limits<T>::digits;
  const Wide ulp = std::ldexp(1.0L, exponent - digits), error = std::fabs(got - want);
  const Wide tail = ulps < 1 ? 0 : std::ldexp(std::fabs(static_cast<Wide>(v)), -2 * digits);
  bool good = error <= std::max(ulps * ulp, tail);
  if (std::isnan(want)) good = std::isnan(got);
  if (std::isinf(v) && !std::isnan(want)) good = got == want;
  if (want == 0 && got == 0) good = std::signbit(want) == std::signbit(got);
  if (good) return "";
  char text[200];
  std::snprintf(text, sizeof text, "%s(%.17g) is %.17g, should be %.17Lg: %.2Lf ULP", c.name, static_cast<double>(v),
                static_cast<double>(got), want, error / ulp);
  return text;
}

template <class T>
void expect_exact(const Case& c, const std::vector<T>& numbers) {
  const std::vector<T> got = apply(c, numbers);
  int complaints = 0;
  for (size_t i = 0; i < numbers.size() && complaints < 5; ++i) {
    const std::string found = complaint(c, numbers[i], got[i]);
    EXPECT_EQ(found, "") << pointwise::selected_isa().name;
    complaints += !found.empty();
  }
}

template <class T>
class Activations : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Activations, Types, );

TYPED_TEST(Activations, EveryKindHasAFunctionButNoneReluAndPrelu) {
  for (int kind = 0; kind < Activation::kinds; ++kind) {
    const bool none = kind < 2 || static_cast<Kind>(kind) == Kind::prelu;
    EXPECT_EQ(pointwise::kernels(dtype_of<TypeParam>()).activations[kind] == nullptr, none) << kind;
  }
}

// Applies KernelTable::prelu to rows of every length. Nothing around the numbers and the slopes may be accessed.
TYPED_TEST(Activations, PreluOfRowsAndOfColumns) {
  using T = TypeParam;
  const auto prelu = pointwise::kernels(dtype_of<T>()).prelu;
  Random random(7);
  GuardedMemory numbers(1 << 16), slopes(1 << 16);
  for (const bool by_column : {false, true})
    for (int64_t rows = 0; rows < 4; ++rows)
      for (int64_t count = 0; count < 70; ++count) {
        const int64_t factors = by_column ? count : rows, gap = count % 3;
        const std::vector<T> values = small_integers<T>(rows * (count + gap), random);
        std::vector<T> slope = small_integers<T>(factors, random);
        for (T& s : slope) s /= 4;
        const size_t bytes = values.size() * sizeof(T) - (rows > 0 ? static_cast<size_t>(gap) * sizeof(T) : 0);
        char* const at = numbers.at_end(bytes);
        char* const from = slopes.at_end(slope.size() * sizeof(T));
        if (bytes > 0) std::memcpy(at, values.data(), bytes);  // a vector without elements may have no address
        if (factors > 0) std::memcpy(from, slope.data(), slope.size() * sizeof(T));
        prelu(at, (count + gap) * static_cast<int64_t>(sizeof(T)), rows, count, from, by_column);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t i = 0; i < count + (r + 1 < rows ? gap : 0); ++i) {
            const size_t e = static_cast<size_t>(r * (count + gap) + i);
            T got;
            std::memcpy(&got, at + e * sizeof(T), sizeof(T));
            const T v = values[e];
            const T want = i < count && v < 0 ? slope[static_cast<size_t>(by_column ? i : r)] * v : v;
            ASSERT_EQ(got, want) << rows << " rows of " << count << ", number " << i << " of row " << r;
          }
      }
}

TYPED_TEST(Activations, SampledErrors) {
  using T = TypeParam;
  std::vector<T> numbers;
  for (uint64_t i = 0; i < uint64_t{1} << 32; i += 20011) {  // i is the upper half of a double
    const uint32_t upper = static_cast<uint32_t>(i);
    const uint64_t bits = sizeof(T) == 4 ? upper : i << 32 | (upper * 2654435761u);
    T v;
    std::memcpy(&v, &bits, sizeof v);
    numbers.push_back(v);
  }
  Random random(1);
  for (const double reach : {1.0, 10.0, 100.0, 1000.0})
    for (int i = 0; i < 50000; ++i) numbers.push_back(static_cast<T>(reach * random.real()));
  for (const Case& c : cases) expect_exact(c, numbers);
}

// Tries numbers near the limits of formulas and clamps.
TYPED_TEST(Activations, NeighboursOfTheEdges) {
  using T = TypeParam;
  std::vector<T> numbers;
  for (const double edge : {0.0,   0.346573590279972655,
                            0.5,   0.625,
                            1.0,   1.25,
                            1.5,   2.5,
                            3.0,   6.0,
                            7.25,  8.3,
                            9.0,   9.9,
                            13.0,  13.2,
                            16.6,  20.0,
                            21.0,  36.7,
                            37.5,  40.0,
                            43.7,  87.3,
                            88.0,  354.0,
                            708.0, 709.0,
                            1e10,  1e30})
    for (const double sign : {-1.0, 1.0}) {
      T below = static_cast<T>(sign * edge), above = below;
      for (int i = 0; i < 50; ++i) {
        numbers.push_back(below = std::nextafter(below, -std::numeric_limits<T>::infinity()));
        numbers.push_back(above = std::nextafter(above, std::numeric_limits<T>::infinity()));
      }
      numbers.push_back(static_cast<T>(sign * edge));
    }
  for (const Case& c : cases) expect_exact(c, numbers);
}

TYPED_TEST(Activations, NamedValues) {
  using T = TypeParam;
  using Limits = std::numeric_limits<T>;
  const T infinity = Limits::infinity(), nan = Limits::quiet_NaN(), most = Limits::max(), least = Limits::denorm_min();
  struct Row {
    const char* name;
    T minus_infinity, minus_most, minus_zero, zero, infinity;
  };
  const T log_2 = static_cast<T>(std::log(2.0L)), slope = T(0.01f), alpha = T(1.6732632f);
  const Row rows[] = {
      {"relu6", 0, 0, -T(0), 0, 6},
      {"clip", T(-1.25), T(-1.25), -T(0), 0, T(2.5)},
      {"clip_below", T(-0.5), T(-0.5), -T(0), 0, infinity},
      {"clip_above", -infinity, -most, -T(0), 0, T(0.5)},
      {"leaky_relu", -infinity, slope * -most, -T(0), 0, infinity},
      {"elu", -alpha, -alpha, -T(0), 0, infinity},
      {"sigmoid", 0, 0, T(0.5), T(0.5), 1},
      {"tanh", -1, -1, -T(0), 0, 1},
      {"silu", nan, -T(0), -T(0), 0, infinity},
      {"hardsigmoid", 0, 0, T(0.5), T(0.5), 1},
      {"hardswish", nan, -T(0), -T(0), 0, infinity},
      {"gelu", nan, -T(0), -T(0), 0, infinity},
      {"gelu_tanh", nan, -T(0), -T(0), 0, infinity},
      {"softplus", 0, 0, log_2, log_2, infinity},
      {"mish", nan, -T(0), -T(0), 0, infinity},
  };
  for (const Case& c : cases) {
    const auto row =
        std::find_if(std::begin(rows), std::end(rows), [&](const Row& r) { return c.name == std::string(r.name); });
    ASSERT_NE(row, std::end(rows)) << c.name;
    SCOPED_TRACE(c.name);
    const std::vector<T> got = apply<T>(c, {-infinity, -most, -T(0), T(0), infinity, nan, -nan});
    const T want[] = {row->minus_infinity, row->minus_most, row->minus_zero, row->zero, row->infinity};
    for (int i = 0; i < 5; ++i) {
      if (std::isnan(want[i])) {
        EXPECT_TRUE(std::isnan(got[i])) << i;
      } else {
        EXPECT_EQ(got[i], want[i]) << i;
        EXPECT_EQ(std::signbit(got[i]), std::signbit(want[i])) << i;
      }
    }
    EXPECT_TRUE(std::isnan(got[5]) && std::isnan(got[6]));
    expect_exact<T>(c,
                    {least, -least, Limits::min(), -Limits::min(), 3 * least, -3 * least, most, most / 2, -most / 2});
  }
}

// The parameter of elu may be any finite number. clip(v, 0, b) keeps -0.
TYPED_TEST(Activations, Parameters) {
  using T = TypeParam;
  const T infinity = std::numeric_limits<T>::infinity();
  Case elu = cases[5], clip = cases[1];
  ASSERT_EQ(elu.kind, Kind::elu);
  ASSERT_EQ(clip.kind, Kind::clip);
  elu.a = 0;
  EXPECT_TRUE(same_bits(apply<T>(elu, {-1, -infinity, -T(0), 2}), {-T(0), -T(0), -T(0), 2}));
  elu.a = -2;
  EXPECT_TRUE(same_bits(apply<T>(elu, {-infinity, -T(0), 0, 2}), {2, -T(0), 0, 2}));
  elu.a = std::numeric_limits<T>::max();
  EXPECT_TRUE(same_bits(apply<T>(elu, {-infinity, -T(0), 2}), {-std::numeric_limits<T>::max(), -T(0), 2}));
  clip.a = 0;
  clip.b = infinite;
  EXPECT_TRUE(same_bits(apply<T>(clip, {-1, -T(0), 0, 2, infinity}), {0, -T(0), 0, 2, infinity}));
}

// Activations take any number of vectors and write nothing after the last one. The bits of a result do not depend on
// its index.
TYPED_TEST(Activations, CountsOfVectors) {
  using T = TypeParam;
  const pointwise::KernelTable& table = pointwise::kernels(dtype_of<T>());
  const int lanes = table.rows[0].lanes;
  constexpr int most = 9;
  alignas(64) T room[(most + 1) * 16];
  Random random(2);
  for (const Case& c : cases)
    for (int vectors = 0; vectors <= most; ++vectors) {
      std::vector<T> numbers = reals<T>((most + 1) * lanes, random), expected = numbers;
      std::copy(numbers.begin(), numbers.end(), room);
      const pointwise::Number parameters[2] = {pointwise::Number::of(static_cast<T>(c.a)),
                                               pointwise::Number::of(static_cast<T>(c.b))};
      char* const bytes = reinterpret_cast<char*>(room);
      table.activations[static_cast<int>(c.kind)](parameters, bytes, vectors, bytes, vectors, 0);
      for (int i = 0; i < vectors * lanes; ++i) expected[i] = apply<T>(c, {numbers[i]})[0];
      EXPECT_TRUE(same_bits(std::vector<T>(room, room + expected.size()), expected)) << c.name << " " << vectors;
    }
}

}  // namespace
}  // namespace pointwise_tests
