// Calls every kernel row of the selected instruction set directly, on data with exact sums. Compares every bit of y and
// of the memory around y. The arrays x, weights, bias and residual lie next to pages that fault. The shapes depend on
// the kernel row.
#include <gtest/gtest.h>

#include <array>

#include "kernel_case.h"

namespace pointwise_tests {
namespace {

template <class T>
class Kernel : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Kernel, Types, );

// Calls `check(row)` for every row of the selected instruction set that takes a KernelCase.
template <class T, class Check>
void for_each_row(const Check& check) {
  const KernelTable& table = pointwise::kernels(dtype_of<T>());
  ASSERT_GT(table.rows.count, 0);
  for (int i = 0; i < table.rows.count; ++i) {
    if (!takes_cases(table.rows[i])) continue;
    SCOPED_TRACE(table.rows[i].name);
    check(table.rows[i]);
    if (testing::Test::HasFatalFailure()) return;
  }
}

template <class T>
void check_case(const KernelRow& row, KernelCase<T>* k, Arena* arena, ptrdiff_t shift, Lie x, Lie y, Lie residual) {
  k->lay_out(arena, shift);
  k->run(row, arena);
  ASSERT_EQ(k->difference(shift), "") << "x " << to_string(x) << ", y " << to_string(y) << ", residual "
                                      << to_string(residual) << ", shift " << shift;
  if (row.reads != pointwise::Reads::pixels) return;
  // Runs the row again, with memory for a copy of the pixels that is as small as allowed.
  k->lay_out(arena, shift);
  k->block.copy = arena->copy.at_end(static_cast<size_t>(k->shape.inputs * row.nr * row.lanes * k->item));
  k->run(row, arena);
  ASSERT_EQ(k->difference(shift), "") << "copied; x " << to_string(x) << ", y " << to_string(y) << ", residual "
                                      << to_string(residual) << ", shift " << shift;
}

// Returns a number of rows that is too large for the buffer of transposed or scattered results.
int64_t beyond_buffer(const KernelRow& row) { return 64 + row.mr + 1; }

// Returns counts of pixels or channels: every remainder of a tile, and counts beyond one tile.
template <class T>
std::vector<int64_t> pixel_counts(const KernelRow& row) {
  std::vector<int64_t> counts;
  const int64_t tile = row.rows == Rows::pixels ? row.mr : int64_t{row.nr} * row.lanes;
  for (int64_t n = 1; n <= tile + 1; ++n) counts.push_back(n);
  counts.push_back(2 * tile + tile / 2 + 1);
  if (row.rows == Rows::pixels) counts.push_back(beyond_buffer(row));
  if (row.reads == pointwise::Reads::channels || row.room != nullptr) counts.push_back(300);  // more than a strip
  return counts;
}

template <class T>
std::vector<int64_t> channel_counts(const KernelRow& row) {
  std::vector<int64_t> counts;
  const int64_t tile = row.rows == Rows::pixels ? int64_t{row.nr} * row.lanes : row.mr;
  const int64_t most = std::max<int64_t>(2 * tile, pointwise::panel_width<T>()) + 1;
  for (int64_t n = 1; n <= most; ++n) counts.push_back(n);
  if (row.rows == Rows::channels) counts.push_back(beyond_buffer(row));
  return counts;
}

// Combines every count of pixels and of channels with every placement of y. The number of input channels is random
// here. The test EveryCombination tries several numbers of input channels.
TYPED_TEST(Kernel, EveryShapeAndStride) {
  using T = TypeParam;
  Arena arena;
  for_each_row<T>([&](const KernelRow& row) {
    Random random(1);
    for (const int64_t pixels : pixel_counts<T>(row))
      for (const int64_t channels : channel_counts<T>(row))
        for (const Lie y : all_lies)
          for (int bits = 0; bits < 4; ++bits) {
            const int64_t inputs = std::array{0, 1, 2, 3, 9}[static_cast<size_t>(random.integer(0, 4))];
            Lie x = all_lies[random.integer(0, 4)];
            if (!can_read(row, x)) x = lie_for(row);
            KernelCase<T> k({pixels, channels, inputs}, x, y, y, (bits & 1) != 0, random.one_in(2), random);
            if (bits & 2) (random.one_in(2) ? k.floor : k.slope) = 0;
            check_case(row, &k, &arena, y == Lie::misaligned ? 1 : 0, x, y, y);
            if (testing::Test::HasFatalFailure()) return;
          }
  });
}

// Combines all placements of x, y and the residual, on a shape with remainders of rows and of lanes.
TYPED_TEST(Kernel, EveryCombination) {
  using T = TypeParam;
  Arena arena;
  for_each_row<T>([&](const KernelRow& row) {
    Random random(2);
    const int64_t vectors = int64_t{row.nr} * row.lanes;
    const bool channel_rows = row.rows == Rows::channels;
    const int64_t rows_tail = row.mr + std::max(row.mr / 2, 1), lanes_tail = vectors + row.lanes / 2 + 1;
    for (const Lie x : all_lies) {
      if (!can_read(row, x)) continue;
      for (const Lie y : all_lies)
        for (const Lie residual : all_lies) {
          if ((y == Lie::uneven) != (residual == Lie::uneven)) continue;  // both have offsets, or neither
          for (const int64_t inputs : {0, 1, 2, 7})
            for (int bits = 0; bits < 16; ++bits) {
              const int64_t pixels = channel_rows ? lanes_tail : rows_tail;
              const int64_t channels = channel_rows ? rows_tail : lanes_tail;
              KernelCase<T> k({pixels, channels, inputs}, x, y, residual, (bits & 1) != 0, (bits & 2) != 0, random);
              if (bits & 4) (random.one_in(2) ? k.floor : k.slope) = 0;
              check_case(row, &k, &arena, bits & 8 ? 1 : 0, x, y, residual);
              if (testing::Test::HasFatalFailure()) return;
            }
        }
    }
  });
}

// Channel rows read x with any stride between channels: negative, with gaps, or misaligned.
TYPED_TEST(Kernel, ChannelRowsReadAnyRow) {
  using T = TypeParam;
  constexpr ptrdiff_t item = sizeof(T);
  Arena arena;
  for_each_row<T>([&](const KernelRow& row) {
    if (row.reads != pointwise::Reads::pixels) return;
    Random random(3);
    for (const int64_t pixels : pixel_counts<T>(row))
      for (const ptrdiff_t step : {-pixels * item, (pixels + 3) * item, pixels * item + 1}) {
        KernelCase<T> k({pixels, row.mr + 1, 5}, Lie::channel_major, Lie::channel_major, Lie::channel_major, false,
                        true, random);
        k.x_place.channel = step;
        k.x_place.first = step < 0 ? -4 * step : 0;
        k.x_place.extent = 4 * std::abs(step) + pixels * item;
        check_case(row, &k, &arena, 0, Lie::channel_major, Lie::channel_major, Lie::channel_major);
        if (testing::Test::HasFatalFailure()) return;
      }
  });
}

// The residual may be y itself, because each element is read before it is written, and is not read again.
TYPED_TEST(Kernel, ResidualInPlace) {
  using T = TypeParam;
  Arena arena;
  for_each_row<T>([&](const KernelRow& row) {
    Random random(4);
    for (const Lie y : all_lies) {
      const int64_t vectors = int64_t{row.nr} * row.lanes;
      const bool channel_rows = row.rows == Rows::channels;
      KernelCase<T> k({channel_rows ? vectors + 1 : row.mr + 1, channel_rows ? row.mr + 1 : vectors + 1, 3},
                      lie_for(row), y, y, true, true, random);
      k.lay_out(&arena, 0);
      for (int64_t p = 0; p < k.shape.pixels; ++p)
        for (int64_t c = 0; c < k.shape.channels; ++c)
          std::memcpy(k.y.data() + k.guard + k.y_place.at(p, c),
                      &k.residual[static_cast<size_t>(p * k.shape.channels + c)], sizeof(T));
      k.block.residual = k.block.y;
      k.run(row, &arena);
      ASSERT_EQ(k.difference(0), "") << "y " << to_string(y);
    }
  });
}

TYPED_TEST(Kernel, PackCopiesPixels) {
  using T = TypeParam;
  constexpr ptrdiff_t item = sizeof(T);
  Random random(5);
  for (const ptrdiff_t step : {item, 2 * item, 3 * item, -item, ptrdiff_t{0}})
    for (const int64_t pixels : {1, 2, 7, 33})
      for (const int64_t channels : {0, 1, 5}) {
        // Two ranges of pixels with a gap between them.
        std::vector<ptrdiff_t> offsets;
        for (int64_t p = 0; p < pixels; ++p) offsets.push_back(128 * item + p * step + (p > pixels / 2 ? 5 * item : 0));
        const ptrdiff_t x_channel = 256 * item, to_channel = (pixels + 2) * item;
        const std::vector<T> x = small_integers<T>((channels + 1) * 256, random);
        std::vector<T> to(static_cast<size_t>((channels + 1) * (pixels + 2)), T{99}), expected = to;
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t p = 0; p < pixels; ++p)
            expected[static_cast<size_t>(c * (pixels + 2) + p)] =
                x[static_cast<size_t>(c * 256 + offsets[static_cast<size_t>(p)] / item)];
        pointwise::kernels(dtype_of<T>())
            .pack[dtype_of<T>()]
            .pixels(reinterpret_cast<const char*>(x.data()), x_channel, offsets.data(), pixels, channels,
                    reinterpret_cast<char*>(to.data()), to_channel);
        ASSERT_EQ(to, expected) << pixels << " pixels, step " << step << ", " << channels << " channels";
      }
}

// Packs pixels with contiguous channels. The last channel of the last pixel ends at a page that faults.
TYPED_TEST(Kernel, PackTransposesPixels) {
  using T = TypeParam;
  constexpr ptrdiff_t item = sizeof(T);
  Random random(7);
  GuardedMemory memory(1 << 16);
  for (const int64_t pixels : {1, 2, 4, 5, 8, 9, 15, 16, 17, 33})
    for (const int64_t channels : {1, 2, 3, 4, 7, 8, 9, 16, 19, 32}) {
      std::vector<ptrdiff_t> offsets;
      for (int64_t p = 0; p < pixels; ++p) offsets.push_back((p * channels + p / 3 * 2) * item);
      const size_t bytes = static_cast<size_t>(offsets.back() + channels * item);
      const std::vector<T> x = small_integers<T>(static_cast<int64_t>(bytes) / item, random);
      char* from = memory.at_end(bytes);
      std::memcpy(from, x.data(), bytes);
      const ptrdiff_t to_channel = (pixels + 2) * item;
      std::vector<T> to(static_cast<size_t>((channels + 1) * (pixels + 2)), T{99}), expected = to;
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t p = 0; p < pixels; ++p)
          expected[static_cast<size_t>(c * (pixels + 2) + p)] =
              x[static_cast<size_t>(offsets[static_cast<size_t>(p)] / item + c)];
      pointwise::kernels(dtype_of<T>())
          .pack[dtype_of<T>()]
          .pixels(from, item, offsets.data(), pixels, channels, reinterpret_cast<char*>(to.data()), to_channel);
      ASSERT_EQ(to, expected) << pixels << " pixels, " << channels << " channels";
    }
}

// Packs a panel of weights and fills missing channels with zeros. Nothing is written after the panel, and nothing is
// read after the last row.
TYPED_TEST(Kernel, PackWeightsTransposes) {
  using T = TypeParam;
  constexpr int64_t item = sizeof(T), width = pointwise::panel_width<T>();
  Random random(6);
  GuardedMemory memory(1 << 16);
  for (int64_t channels = 1; channels <= width; ++channels)
    for (const int64_t inputs : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33})
      for (const int64_t gap : {0, 3}) {
        const int64_t row = inputs + gap, numbers = (channels - 1) * row + inputs;
        const std::vector<T> weights = small_integers<T>(numbers, random);
        char* from = memory.at_end(static_cast<size_t>(numbers * item));
        std::memcpy(from, weights.data(), static_cast<size_t>(numbers * item));
        std::vector<T> panel(static_cast<size_t>((inputs + 1) * width), T{99}), expected = panel;
        for (int64_t i = 0; i < inputs; ++i)
          for (int64_t o = 0; o < width; ++o)
            expected[static_cast<size_t>(i * width + o)] =
                o < channels ? weights[static_cast<size_t>(o * row + i)] : T{0};
        pointwise::kernels(dtype_of<T>())
            .pack_weights(from, row * item, channels, inputs, reinterpret_cast<char*>(panel.data()));
        ASSERT_EQ(panel, expected) << channels << " channels, " << inputs << " inputs, gap " << gap;
      }
}

// Writes results with non-temporal stores, with every remainder.
TYPED_TEST(Kernel, StreamsResults) {
  using T = TypeParam;
  constexpr int64_t width = pointwise::panel_width<T>();
  Arena arena;
  for_each_row<T>([&](const KernelRow& row) {
    Random random(8);
    const bool channel_rows = row.rows == Rows::channels;
    for (const int64_t lines : {1, 2, 3, 4, 7, 8, 9, 17})
      for (int64_t others = 1; others <= 2 * row.mr + 1; ++others)
        for (int bits = 0; bits < 2; ++bits) {
          // Lanes fill whole cache lines. The numbers of lines and of rows have remainders.
          const Lie y = channel_rows ? Lie::channel_major : Lie::pixel_major;
          KernelCase<T> k({channel_rows ? lines * width : others, channel_rows ? others : lines * width, 3},
                          lie_for(row), y, y, bits == 1, true, random);
          const ptrdiff_t shift = 0;
          k.lay_out(&arena, shift);
          std::vector<char> room(k.y.size() + 64, '\x5a');
          char* aligned = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64;
          k.block.y = aligned;
          k.block.stream = true;
          k.run(row, &arena);
          std::memcpy(k.y.data() + k.guard, aligned, static_cast<size_t>(k.y_place.extent));
          ASSERT_EQ(k.difference(shift), "");
        }
  });
}

TYPED_TEST(Kernel, FmaLoopCountsWhatItDoes) {
  const double once = pointwise::kernels(dtype_of<TypeParam>()).fma_loop(1);
  EXPECT_GE(once, 2 * 12);
  EXPECT_EQ(pointwise::kernels(dtype_of<TypeParam>()).fma_loop(1000), 1000 * once);
}

}  // namespace
}  // namespace pointwise_tests
