// Tests every kernel row with special numbers, such as NaN, at every position of its tiles and of their remainders.
// Results that depend on a special number must follow IEEE 754, and no other result may change.
#include <gtest/gtest.h>

#include "convolution/reference.h"
#include "kernel_case.h"
#include "kernels/activation_reference.h"

namespace pointwise_tests {
namespace {

using pointwise::Activation;

template <class T>
class Positions : public testing::Test {
 protected:
  static constexpr T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  static constexpr T tiny = std::numeric_limits<T>::denorm_min();
  Arena arena;

  static T element(const KernelCase<T>& k, int64_t p, int64_t c) {
    T v;
    std::memcpy(&v, k.y.data() + k.guard + k.y_place.at(p, c), sizeof(T));
    return v;
  }
  // Returns all elements of y: [pixel][channel].
  static std::vector<T> elements(const KernelCase<T>& k) {
    std::vector<T> all;
    for (int64_t p = 0; p < k.shape.pixels; ++p)
      for (int64_t c = 0; c < k.shape.channels; ++c) all.push_back(element(k, p, c));
    return all;
  }

  static KernelCase<T> make(const KernelRow& row, int64_t pixels, int64_t channels, int64_t inputs, int turn,
                            Random& random) {
    // For channel rows, stores are straight, transposed and scattered. For pixel rows, the first two are swapped.
    constexpr Lie ways[] = {Lie::channel_major, Lie::pixel_major, Lie::uneven};
    const Lie x = lie_for(row), y = ways[turn % 3];
    KernelCase<T> k({pixels, channels, inputs}, x, y, y, true, true, random);
    if (turn / 3 % 3 == 1) k.floor = 0;
    if (turn / 3 % 3 == 2) k.slope = T{0.5};
    return k;
  }

  // Runs `k` with a NaN in `number`. Elements of pixel `p` and channel `c` must be NaN. All others must equal `good`.
  // The number -1 stands for all pixels or all channels.
  void spoil(const KernelRow& row, KernelCase<T>* k, T* number, int64_t p, int64_t c, const std::vector<T>& good) {
    const T before = *number;
    *number = nan;
    k->lay_out(&arena, 0);
    k->run(row, &arena);
    *number = before;
    for (int64_t q = 0; q < k->shape.pixels; ++q)
      for (int64_t d = 0; d < k->shape.channels; ++d) {
        const T v = element(*k, q, d);
        if ((p < 0 || p == q) && (c < 0 || c == d))
          ASSERT_TRUE(std::isnan(v)) << k->text() << ": pixel " << q << ", channel " << d << " is no NaN";
        else
          ASSERT_TRUE(same_bits(v, good[static_cast<size_t>(q * k->shape.channels + d)]))
              << k->text() << ": pixel " << q << ", channel " << d << " changed to " << v
              << ", but the NaN is in pixel " << p << ", channel " << c << " (-1: in all)";
      }
  }

  void every_position(const KernelRow& row, int64_t pixels, int64_t channels, int turn) {
    Random random(turn);
    KernelCase<T> k = make(row, pixels, channels, 3, turn, random);
    k.lay_out(&arena, 0);
    k.run(row, &this->arena);
    ASSERT_EQ(k.difference(0), "");
    const std::vector<T> good = elements(k);
    for (int64_t p = 0; p < pixels && !testing::Test::HasFatalFailure(); ++p) {
      spoil(row, &k, &k.x[static_cast<size_t>(3 * p + p % 3)], p, -1, good);
      const int64_t c = (7 * p + turn) % channels;
      spoil(row, &k, &k.residual[static_cast<size_t>(p * channels + c)], p, c, good);
    }
    for (int64_t c = 0; c < channels && !testing::Test::HasFatalFailure(); ++c) {
      spoil(row, &k, &k.weights[static_cast<size_t>(3 * c + c % 3)], -1, c, good);
      spoil(row, &k, &k.bias[static_cast<size_t>(c)], -1, c, good);
      const int64_t p = (5 * c + turn) % pixels;
      spoil(row, &k, &k.residual[static_cast<size_t>(p * channels + c)], p, c, good);
    }
  }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Positions, Types, );

// Tries every position with each remainder of the lanes, then with each remainder of the rows. Alternates between three
// kinds of stores and between three epilogues.
TYPED_TEST(Positions, OneNaNTouchesWhatDependsOnIt) {
  using T = TypeParam;
  const KernelTable& table = pointwise::kernels(dtype_of<T>());
  for (int i = 0; i < table.rows.count; ++i) {
    const KernelRow& row = table.rows[i];
    if (!takes_cases(row)) continue;
    SCOPED_TRACE(row.name);
    const int64_t vectors = int64_t{row.nr} * row.lanes, rows = row.mr;
    const auto check = [&](int64_t lanes_used, int64_t rows_used, int turn) {
      const bool channel_rows = row.rows == Rows::channels;
      this->every_position(row, channel_rows ? lanes_used : rows_used, channel_rows ? rows_used : lanes_used, turn);
    };
    int turn = i;
    for (int64_t n = 1; n <= vectors + 1 && !testing::Test::HasFatalFailure(); ++n) {
      check(n, 2, turn++);
      if (n < row.lanes) check(vectors + n, rows + 1, turn++);
    }
    for (int64_t n = 1; n <= 2 * rows + 1 && !testing::Test::HasFatalFailure(); ++n)
      check(row.lanes + row.lanes / 2, n, turn++);
    if (testing::Test::HasFatalFailure()) return;
  }
}

// Puts zeros, infinities, NaN, subnormals and small integers everywhere. Results must equal the sums in the canonical
// order.
TYPED_TEST(Positions, AnythingAnywhere) {
  using T = TypeParam;
  const T special[] = {T{0}, -T{0}, 1, -1, this->infinity, -this->infinity, this->nan, this->tiny, -this->tiny, 2, -2};
  const KernelTable& table = pointwise::kernels(dtype_of<T>());
  for (int i = 0; i < table.rows.count; ++i) {
    const KernelRow& row = table.rows[i];
    if (!takes_cases(row)) continue;
    SCOPED_TRACE(row.name);
    const int64_t vectors = int64_t{row.nr} * row.lanes;
    int64_t nans = 0, others = 0;
    for (int turn = 0; turn < 9; ++turn)
      for (const int64_t inputs : {0, 1, 2, 5})
        for (const int odd : {12, 40}) {  // 1 of `odd` numbers is drawn from all of `special`, others from its first 4
          Random random(100 * turn + inputs);
          const bool channel_rows = row.rows == Rows::channels;
          const int64_t lanes = vectors + row.lanes / 2 + 1, rows = row.mr + row.mr / 2 + 1;
          KernelCase<T> k =
              this->make(row, channel_rows ? lanes : rows, channel_rows ? rows : lanes, inputs, turn, random);
          for (std::vector<T>* numbers : {&k.x, &k.weights, &k.bias, &k.residual})
            for (T& v : *numbers) v = special[random.integer(0, random.one_in(odd) ? std::size(special) - 1 : 3)];
          k.lay_out(&this->arena, 0);
          k.run(row, &this->arena);
          for (int64_t p = 0; p < k.shape.pixels; ++p)
            for (int64_t c = 0; c < k.shape.channels; ++c) {
              const T got = this->element(k, p, c), want = k.canonical(p, c);
              ++(std::isnan(want) ? nans : others);
              ASSERT_TRUE(std::isnan(want) ? std::isnan(got) : same_bits(got, want))
                  << k.text() << ": pixel " << p << ", channel " << c << " is " << got << ", expected " << want;
            }
        }
    EXPECT_GT(nans, 0);
    EXPECT_GT(others, 0);
  }
}

// Applies every activation except prelu to every special number, in every lane and with every kind of store. The bits
// must be the same everywhere. They must agree with the definition, up to rounding.
TYPED_TEST(Positions, ActivationsOfSpecialNumbers) {
  using T = TypeParam;
  using Limits = std::numeric_limits<T>;
  const std::vector<T> special{this->nan,        this->infinity, -this->infinity, T{0},           -T{0},
                               this->tiny,       -this->tiny,    Limits::min(),   -Limits::min(), Limits::max(),
                               Limits::lowest(), T{1},           T{-1},           T{30},          T{-30}};
  const int64_t count = static_cast<int64_t>(special.size());
  const KernelTable& table = pointwise::kernels(dtype_of<T>());
  for (int kind = 0; kind < Activation::kinds; ++kind) {
    if (static_cast<Activation::Kind>(kind) == Activation::Kind::prelu) continue;  // applied after the kernel call
    const Activation activation{static_cast<Activation::Kind>(kind), kind == 3 ? -0.25 : 0.125, 0.75};
    const pointwise::Epilogue epilogue = pointwise::epilogue_of(activation, dtype_of<T>());
    std::vector<T> first;  // results of the first row
    for (int i = 0; i < table.rows.count; ++i) {
      const KernelRow& row = table.rows[i];
      if (!takes_cases(row)) continue;
      SCOPED_TRACE(std::string(row.name) + ", activation " + std::to_string(kind));
      const int64_t lanes = int64_t{row.nr} * row.lanes + row.lanes / 2 + 1, rows = row.mr + 1;
      for (int turn = 0; turn < 3; ++turn) {
        Random random(turn);
        const bool channel_rows = row.rows == Rows::channels;
        KernelCase<T> k = this->make(row, channel_rows ? lanes : rows, channel_rows ? rows : lanes, 0, turn, random);
        k.bias.assign(k.bias.size(), -T{0});  // -0 + v is v
        for (int64_t shift = 0; shift < count; ++shift) {
          const auto index = [&](size_t at) { return (static_cast<int64_t>(at) + shift) % count; };
          for (size_t at = 0; at < k.residual.size(); ++at) k.residual[at] = special[index(at)];
          k.lay_out(&this->arena, 0);
          k.block.epilogue = epilogue;
          k.run(row, &this->arena);
          const std::vector<T> got = this->elements(k);
          if (first.empty())
            for (int64_t s = 0; s < count; ++s) first.push_back(got[static_cast<size_t>(s)]);
          for (size_t at = 0; at < got.size(); ++at) {
            const T want = first[index(at)];
            ASSERT_TRUE(std::isnan(want) ? std::isnan(got[at]) : same_bits(got[at], want))
                << special[index(at)] << " became " << got[at] << ", elsewhere " << want;
          }
        }
      }
    }
    for (int64_t s = 0; s < count; ++s) {
      const long double want = pointwise::reference_activation<long double>(activation, special[s]);
      const T got = first[s];
      SCOPED_TRACE("activation " + std::to_string(kind) + " of " + std::to_string(special[s]));
      ASSERT_EQ(std::isnan(got), std::isnan(want));
      if (std::isnan(want)) continue;
      // Allows rounding errors, and an absolute error of up to `tail`. The latter matters only if the result is much
      // smaller than the input. Zeros must be exact.
      const long double digits = Limits::epsilon() / 2, tail = digits * digits * std::fabs(special[s]);
      const long double near = want == 0 ? 0 : 16 * digits * std::fabs(want) + tail + 4 * this->tiny;
      if (std::isinf(static_cast<T>(want)))
        EXPECT_EQ(got, static_cast<T>(want));
      else
        EXPECT_LE(std::fabs(got - want), near) << got << " instead of " << want;
      EXPECT_EQ(std::signbit(got), std::signbit(want)) << got << " instead of " << want;
    }
  }
}

// Multiplies special numbers by scales at every position. Products must be rounded, and no other number may change.
TYPED_TEST(Positions, ScalesOfSpecialNumbers) {
  using T = TypeParam;
  const T special[] = {T{0}, -T{0}, 1, -1, this->infinity, -this->infinity, this->nan, this->tiny, -this->tiny, T{0.5}};
  const auto& table = pointwise::kernels(dtype_of<T>());
  constexpr int64_t rows = 3, item = sizeof(T);
  for (int64_t count = 1; count <= 2 * 64 / item + 1; ++count)
    for (const bool by_column : {false, true})
      for (int64_t shift = 0; shift < 100; shift += 3) {
        const int64_t row = count + 2;
        std::vector<T> numbers(static_cast<size_t>(rows * row)), factors(static_cast<size_t>(std::max(count, rows)));
        for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = special[(i + shift) % 10];
        for (size_t i = 0; i < factors.size(); ++i) factors[i] = special[(i + shift / 10) % 10];
        const std::vector<T> before = numbers;
        table.scale(reinterpret_cast<char*>(numbers.data()), row * item, rows, count,
                    reinterpret_cast<const char*>(factors.data()), by_column);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t i = 0; i < row; ++i) {
            const size_t at = static_cast<size_t>(r * row + i);
            const T want = i < count ? before[at] * factors[static_cast<size_t>(by_column ? i : r)] : before[at];
            ASSERT_TRUE(std::isnan(want) ? std::isnan(numbers[at]) : same_bits(numbers[at], want))
                << "row " << r << ", number " << i << " of " << count << ": " << before[at] << " became " << numbers[at]
                << ", expected " << want;
          }
      }
}

}  // namespace
}  // namespace pointwise_tests
