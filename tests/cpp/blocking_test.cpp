// Tests the choice of kernel row, packing, parts and blocks. The choice is a pure function of its arguments, so the
// tests give the same results on every CPU.
#include "product/blocking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/checked.h"
#include "problem.h"
#include "product/plan.h"

namespace pointwise_tests {
namespace {

using pointwise::Blocking;
using pointwise::Candidate;
using pointwise::ceil_div;
using pointwise::fewest_parts;
using pointwise::KernelRow;
using pointwise::KernelRows;
using pointwise::Machine;
using pointwise::Packing;
using pointwise::Parts;
using pointwise::Reads;
using pointwise::Rows;
using pointwise::Work;

// The kernel rows of AVX-512 and AVX2 in float32. They are only read, not run, so the CPU need not support them.
const KernelRows wide = pointwise::avx512_f32.rows, narrow = pointwise::avx2_f32.rows;

// A machine that computes 64-byte vectors at once, and one that computes them in halves.
const Machine full_width = pointwise::zen5(), half_width = pointwise::zen4();

// Returns a list with one row, the first row whose name contains `name`.
KernelRows only(const KernelRows& rows, const std::string& name) {
  for (const KernelRow& row : rows)
    if (std::string(row.name).find(name) != std::string::npos) return {&row, 1};
  ADD_FAILURE() << "no row " << name;
  return {rows.first, 1};
}

// Returns the work of a convolution on contiguous arrays, with channels last or channels first. There are `images`
// images of `pixels` pixels.
Work work_of(bool channels_last, int64_t images, int64_t pixels, int64_t inputs, int64_t channels, int threads) {
  Work work{};
  work.types = pointwise::all_f32;
  work.x_item = work.x_step = work.item = 4;
  work.groups = 1;
  work.m = channels;
  work.k = inputs;
  work.threads = threads;
  work.machine = &full_width;
  work.l1 = 48 << 10;
  work.l2 = 1 << 20;
  if (channels_last) {
    work.axes = 1;
    work.axis[0] = {images * pixels, inputs * 4, channels * 4, 0};
    work.src_k = work.dst_m = 4;
  } else {
    work.axes = images > 1 ? 2 : 1;
    work.axis[0] = {images, inputs * pixels * 4, channels * pixels * 4, 0};
    work.axis[work.axes - 1] = {pixels, 4, 4, 0};
    work.src_k = work.dst_m = pixels * 4;
  }
  return work;
}

// A constant that zen5.cpp does not set would be 0. The other machines start with the constants of Zen 5.
TEST(Machine, HasEveryConstant) {
  for (const Machine& machine : {pointwise::zen4(), pointwise::zen5(), pointwise::golden_cove(), pointwise::generic()})
    for (const pointwise::MachineConstant& constant : pointwise::machine_constants) {
      EXPECT_GT(machine.*constant.value, 0) << machine.name << " " << constant.name;
      EXPECT_TRUE(std::isfinite(machine.*constant.value)) << machine.name << " " << constant.name;
    }
}

TEST(Machine, ConstantsAreThoseOfTheModel) {
  const Machine& found = pointwise::machine();
  Machine slow = found;
  slow.call_cycles += 1000;
  const auto cycles = [] {
    Work work = work_of(false, 1, 3136, 64, 64, 1);
    work.machine = &pointwise::machine();
    return choose_blocking(work, wide).cycles;
  };
  const double before = cycles();
  pointwise::replace_machine(slow);
  EXPECT_EQ(cycles(), before + 1000);
  pointwise::replace_machine(found);
  EXPECT_EQ(cycles(), before);
}

TEST(Blocking, ChoosesTheOrientation) {
  const struct {
    const char* what;
    bool channels_last;
    int64_t images, pixels, inputs, channels;
    Rows rows;
    Packing packing;
  } table[] = {
      {"NCHW, large image", false, 1, 3136, 64, 64, Rows::channels, Packing::none},
      {"NCHW, large image, few channels out", false, 1, 3136, 64, 16, Rows::channels, Packing::none},
      {"NCHW, 28x28", false, 1, 784, 128, 512, Rows::channels, Packing::none},
      {"NHWC, large image", true, 1, 3136, 64, 64, Rows::pixels, Packing::none},
      {"NHWC, 7x7", true, 1, 49, 512, 2048, Rows::pixels, Packing::none},
      {"NHWC, batch", true, 16, 49, 128, 130, Rows::pixels, Packing::none},
      {"one pixel", false, 1, 1, 1024, 1000, Rows::pixels, Packing::none},
      {"NCHW, 2x2", false, 1, 4, 512, 512, Rows::pixels, Packing::none},
      {"NHWC, one channel out", true, 1, 196, 64, 1, Rows::channels, Packing::none},
      {"NHWC, grey of RGB", true, 1, 448 * 448, 3, 1, Rows::pixels, Packing::none},
  };
  for (const auto& t : table)
    for (const auto* rows : {&wide, &narrow}) {
      const Work work = work_of(t.channels_last, t.images, t.pixels, t.inputs, t.channels, 1);
      const Blocking b = choose_blocking(work, *rows);
      EXPECT_EQ((*rows)[b.kernel_row].rows, t.rows) << t.what << ": " << (*rows)[b.kernel_row].name;
      EXPECT_EQ(b.packing, t.packing) << t.what;
    }
}

// If pixels of src are contiguous, narrow pixel rows read each cache line several times. With many input channels, L1
// cannot keep all these lines between two reads. So the pixels are packed, if there are enough output channels to make
// packing worthwhile.
TEST(Blocking, PacksThePixelsOfASmallImageForNarrowTiles) {
  for (const int64_t channels : {16, 256, 2048})
    for (const auto* rows : {&wide, &narrow}) {
      const Blocking b = choose_blocking(work_of(false, 1, 49, 832, channels, 1), *rows);
      EXPECT_EQ((*rows)[b.kernel_row].rows, Rows::pixels);
      EXPECT_EQ(b.packing, rows == &narrow && channels > 16 ? Packing::pixels : Packing::none) << channels;
    }
  const Blocking few = choose_blocking(work_of(false, 1, 49, 64, 2048, 1), narrow);
  EXPECT_EQ(few.packing, Packing::none) << "L1 holds all lines of a tile";
}

// Three costs decide between kernel rows of one orientation: remainders, reads from L2, and the part of set-up and
// stores that multiply-adds do not hide.
TEST(Blocking, ChoosesTheTile) {
  const auto name = [](bool channels_last, int64_t pixels, int64_t inputs, int64_t channels) {
    const Work work = work_of(channels_last, 1, pixels, inputs, channels, 1);
    return std::string(wide[choose_blocking(work, wide).kernel_row].name);
  };
  EXPECT_EQ(name(true, 196, 256, 16), "gemm_f32_28x16_pixels_avx512");
  EXPECT_EQ(name(true, 196, 256, 24), "gemm_f32_16x24_pairs_avx512");
  EXPECT_EQ(name(true, 196, 256, 72), "gemm_f32_16x24_pairs_avx512");
  EXPECT_NE(name(true, 196, 256, 25), "gemm_f32_16x24_pairs_avx512") << "the remainder is more than half a vector";
  EXPECT_EQ(name(true, 3136, 64, 64), "gemm_f32_4x64_pixels_avx512") << "short sums: stores overlap the next tile";
  EXPECT_NE(name(true, 3136, 1024, 64), "gemm_f32_4x64_pixels_avx512") << "long sums: weights come from L2";
  EXPECT_EQ(name(false, 784, 32, 192), "gemm_f32_4x64_channels_avx512") << "short sums";
  EXPECT_EQ(name(false, 784, 256, 64), "gemm_f32_8x48_channels_avx512") << "long sums: pixels come from L2";
}

TEST(Blocking, PackedPixelsThatAreReadOnceStayInL1) {
  for (const int64_t pixels : {100, 1000, 100000}) {
    const Work work = work_of(true, 1, pixels, 64, 2, 1);
    const Blocking b = choose_blocking(work, only(wide, "4x64_channels"));
    EXPECT_EQ(b.packing, Packing::channels);
    EXPECT_LE(b.packed, work.l1 / 2);
  }
}

TEST(Blocking, PacksChannelsThatShareSetsOfACache) {
  for (const int64_t inputs : {200, 1200}) {
    const Blocking shared = choose_blocking(work_of(false, 1, 64 * 64, inputs, 256, 1), wide);
    EXPECT_NE(shared.packing, Packing::none) << inputs;
    const Blocking apart = choose_blocking(work_of(false, 1, 66 * 64, inputs, 256, 1), wide);
    EXPECT_EQ(apart.packing, Packing::none) << inputs;
  }
}

TEST(Blocking, RefusesWhatCannotRun) {
  Work work = work_of(false, 1, 100, 8, 8, 1);
  work.axis[0].src = 8;  // every second pixel
  for (const Candidate& c : candidates(work, wide)) {
    const KernelRow& row = wide[c.blocking.kernel_row];
    const std::string refused = c.refused ? c.refused : "";
    if (row.reads == Reads::own) {
      EXPECT_EQ(refused, "each group must have one channel");
      continue;
    }
    if (row.refuses != nullptr) continue;  // this kernel row has its own reasons to refuse a product
    if (row.rows == Rows::channels && c.blocking.packing == Packing::none) {
      EXPECT_EQ(refused, "pixels of the source are not contiguous");
    }
    if (row.rows == Rows::channels && c.blocking.packing == Packing::pixels) {
      EXPECT_EQ(refused, "the kernel needs contiguous pixels");
    }
    if (row.rows == Rows::pixels && c.blocking.packing == Packing::pixels) {
      EXPECT_EQ(refused, "neither channels nor pixels of the source are contiguous");
    }
    if (c.blocking.packing == Packing::channels) {
      EXPECT_EQ(refused, "");
    }
  }
  work.k = 0;
  for (const Candidate& c : candidates(work, wide))
    if (wide[c.blocking.kernel_row].reads == Reads::own) {
      EXPECT_EQ(std::string(c.refused ? c.refused : ""), "each group must have one channel");
    } else if (wide[c.blocking.kernel_row].refuses == nullptr) {
      EXPECT_EQ(std::string(c.refused ? c.refused : ""),
                c.blocking.packing == Packing::none ? "" : "there are no input channels to pack");
    }
}

TEST(Blocking, HalvesAVectorWhereThatSavesTime) {
  Work work = work_of(true, 1, 196, 256, 24, 1);
  const auto name = [&work] { return std::string(wide[choose_blocking(work, wide).kernel_row].name); };
  EXPECT_EQ(name(), "gemm_f32_16x24_pairs_avx512");
  work.machine = &half_width;
  EXPECT_EQ(name(), "gemm_f32_12x24_halves_avx512");
  work.m = 32;
  EXPECT_NE(name(), "gemm_f32_12x24_halves_avx512") << "there is no remainder";
  for (const int64_t alone : {5, 8}) {
    work.m = alone;
    EXPECT_EQ(name(), "gemm_f32_12x24_halves_avx512");
  }
  for (const int64_t more_than_half : {9, 16}) {
    work.m = more_than_half;
    EXPECT_NE(name(), "gemm_f32_12x24_halves_avx512");
  }
  work.m = 1;
  EXPECT_EQ(name(), "gemm_f32_8x16_quads_avx512") << "all lanes are in use";
  work.machine = &full_width;
  work.m = 8;
  EXPECT_NE(name(), "gemm_f32_12x24_halves_avx512");
}

// On a half-width CPU, a remainder of at most half a vector takes half of the time of a whole vector. A larger
// remainder takes the time of a whole vector. With 16 output channels, a vector of pixels takes 16 multiply-adds per
// input channel, at two per cycle.
TEST(Blocking, HalfAVectorOfPixelsTakesHalfTheTime) {
  const auto cycles = [](int64_t pixels, bool halved) {
    Work work = work_of(false, 1, pixels, 100, 16, 1);
    work.machine = halved ? &half_width : &full_width;
    return candidates(work, only(wide, "8x48_channels")).front().blocking.cycles;
  };
  for (const int64_t half : {17, 24}) {
    EXPECT_EQ(cycles(half, false), cycles(32, false));
    EXPECT_EQ(cycles(half, true), cycles(32, true) - 100 * 16 * 0.5 / 2);
  }
  for (const int64_t more : {25, 31}) EXPECT_EQ(cycles(more, true), cycles(32, true));
}

// The work is 64 -> 128 channels at every second pixel. On half-width CPUs, copies take a smaller share of the time, so
// packing is worthwhile.
TEST(Blocking, CopiesTakeLessBesideSlowMultiplyAdds) {
  Work work = work_of(false, 1, 3136, 64, 128, 1);
  work.axis[0].src = 8;
  const auto packing = [&work] { return choose_blocking(work, wide).packing; };
  EXPECT_EQ(packing(), Packing::none);
  work.machine = &half_width;
  EXPECT_EQ(packing(), Packing::channels);
}

// Each run of contiguous pixels has a packing cost. Nine images of 2x2 have nine runs of four pixels per channel. One
// image of 36 pixels has one run.
TEST(Blocking, ShortRunsAreDearToPack) {
  const KernelRows rows = only(wide, "8x48_channels");
  const auto price = [&rows](int64_t images, int64_t pixels) {
    const Work work = work_of(false, images, pixels, 64, 8, 1);
    for (const Candidate& c : candidates(work, rows))
      if (!c.refused && c.blocking.packing == Packing::channels && c.blocking.n_axes == work.axes)
        return c.blocking.pack;
    return 0.0;
  };
  EXPECT_GT(price(9, 4), 3 * 64 * 9 - 1);
  EXPECT_LT(price(1, 36), 64 * 36);
  Work work = work_of(false, 9, 4, 64, 8, 1);
  work.machine = &half_width;
  EXPECT_EQ(choose_blocking(work, wide).packing, Packing::none);
}

// The first tile of a column reads its pixels from L2. If a tile has more rows than there are channels, each column has
// only one tile. So fewer and wider columns are better.
TEST(Blocking, FewChannelsTakeTheWiderTile) {
  const Work work = work_of(false, 1, 9900, 2, 2, 1);
  const KernelRows ordinary = {wide.first, wide.count - 4};  // without long, interleaved and diagonal rows
  EXPECT_EQ(std::string(ordinary[choose_blocking(work, ordinary).kernel_row].name), "gemm_f32_4x64_channels_avx512");
}

// Long rows read long runs of src, so they are best if src comes from memory. If src is in L2, or if there are many
// output channels, ordinary channel rows have less overhead.
TEST(Blocking, FewChannelsOfALargeImageTakeLongRows) {
  const auto name = [](int64_t pixels, int64_t inputs, int64_t channels) {
    Work work = work_of(false, 1, pixels, inputs, channels, 1);
    work.l2 = int64_t{1} << 20;
    return std::string(wide[choose_blocking(work, wide).kernel_row].name);
  };
  EXPECT_EQ(name(1 << 16, 200, 8), "gemm_f32_8x48_long_avx512");
  EXPECT_EQ(name(1 << 18, 31, 1), "gemm_f32_8x48_long_avx512");
  EXPECT_EQ(name(256, 200, 8), "gemm_f32_8x48_channels_avx512");
  EXPECT_NE(name(1 << 16, 200, 32), "gemm_f32_8x48_long_avx512") << "too many output channels";
}

TEST(Blocking, RefusesPairsWithoutAHalf) {
  const KernelRows pairs = only(wide, "pairs");
  const auto refused = [&pairs](bool channels_last, int64_t channels) {
    const Candidate c = candidates(work_of(channels_last, 1, 100, 8, channels, 1), pairs).front();
    return std::string(c.refused ? c.refused : "");
  };
  for (const int64_t channels : {17, 24, 33, 40, 72}) EXPECT_EQ(refused(true, channels), "");
  for (const int64_t channels : {1, 8, 15, 16, 25, 31, 32, 48})
    EXPECT_EQ(refused(true, channels), "needs at least 16 output channels, and a remainder of 1 to 8 modulo 16");
  EXPECT_EQ(refused(false, 24), "channels of the result are not contiguous");
}

Work random_work(Random& random) {
  Work work{};
  work.item = random.one_in(2) ? 4 : 8;
  work.groups = random.one_in(3) ? random.integer(1, 64) : 1;
  const auto count = [&random] {
    return random.one_in(3)   ? random.integer(1, 8)
           : random.one_in(8) ? random.integer(1, 100000)
                              : random.integer(1, 600);
  };
  work.m = count();
  work.k = random.one_in(10) ? 0 : count();
  work.axes = static_cast<int>(random.integer(1, 4));
  const auto step = [&] {
    return work.item * random.integer(-3, 3) * (random.one_in(2) ? 1 : random.integer(1, 1000));
  };
  for (int i = work.axes - 1; i >= 0; --i) {
    work.axis[i] = {random.one_in(3) ? random.integer(1, 3) : random.integer(1, 300), step(), step(), step()};
    if (i < work.axes - 1 && random.one_in(2)) {
      const pointwise::Axis& inner = work.axis[i + 1];
      work.axis[i].src = inner.size * inner.src;
      work.axis[i].dst = inner.size * inner.dst;
      work.axis[i].residual = inner.size * inner.residual;
    }
  }
  work.src_k = random.one_in(2) ? work.item : step();
  work.dst_m = random.one_in(2) ? work.item : step();
  work.residual = random.one_in(2);
  work.borrowed = random.one_in(3);
  work.residual_m = random.one_in(2) ? work.item : step();
  work.threads = static_cast<int>(random.one_in(2) ? 1 : random.integer(2, 128));
  work.l1 = random.one_in(2) ? 32 << 10 : 48 << 10;
  work.machine = random.one_in(2) ? &half_width : &full_width;
  work.l2 = random.one_in(2) ? 256 << 10 : 2 << 20;
  if (random.one_in(20)) {  // a diagonal product
    work.m = work.k = 1;
    work.groups = random.integer(2, 500);
  }
  return work;
}

// Checks that parts cover [0, total) in order, begin at multiples of the unit, and differ by at most one unit. The last
// part may be shorter.
void expect_parts(const Parts& parts, int64_t total, int64_t unit) {
  ASSERT_EQ(parts.total, total);
  ASSERT_EQ(parts.unit % unit, 0);
  ASSERT_GE(parts.count, 1);
  ASSERT_EQ(parts.begin(0), 0);
  ASSERT_EQ(parts.begin(parts.count), total);
  const int64_t fewest = ceil_div(total, parts.unit) / parts.count;
  for (int64_t i = 0; i < parts.count; ++i) {
    const int64_t begin = parts.begin(i), size = parts.begin(i + 1) - begin;
    ASSERT_EQ(begin % parts.unit, 0);
    ASSERT_LE(size, parts.largest());
    if (i + 1 < parts.count) {
      ASSERT_TRUE(size == fewest * parts.unit || size == (fewest + 1) * parts.unit);
    }
    ASSERT_GT(size, 0);
  }
}

TEST(Blocking, FewestParts) {
  for (const int64_t unit : {1, 3, 48})
    for (const int64_t total : {1, 2, 47, 48, 49, 96, 97, 1000})
      for (const int64_t units : {1, 2, 5, 1000}) {
        const Parts parts = fewest_parts(total, unit, units * unit);
        expect_parts(parts, total, unit);
        EXPECT_LE(parts.largest(), std::max(units * unit, unit));
        EXPECT_EQ(parts.count, ceil_div(total, units * unit));
      }
  EXPECT_EQ(fewest_parts(5, 8, 5).count, 1);  // less than a unit
}

TEST(Blocking, KeepsItsInvariants) {
  Random random(80);
  for (int round = 0; round < 20000; ++round) {
    const Work given = random_work(random);
    const KernelRows& rows = random.one_in(2) ? wide : narrow;
    SCOPED_TRACE("round " + std::to_string(round));
    const std::vector<Candidate> all = candidates(given, rows);
    int can_run = 0;
    for (const Candidate& c : all) {
      const Blocking& b = c.blocking;
      Work work = given;
      if (rows[b.kernel_row].reads == Reads::own && !c.refused) {
        ASSERT_TRUE(work.m == 1 && work.k == 1 && work.groups > 1);
        ASSERT_EQ(b.packing, Packing::none);
        std::swap(work.m, work.groups);
      }
      int64_t pixels = 1, images = 1;
      for (int i = 0; i < work.axes; ++i) (i < work.axes - b.n_axes ? images : pixels) *= work.axis[i].size;
      ASSERT_EQ(b.images, images);
      ASSERT_EQ(b.n, pixels);
      if (c.refused) continue;
      ++can_run;
      const KernelRow& row = rows[b.kernel_row];
      const int64_t panel = 64 / work.item, tile_pixels = row.rows == Rows::channels ? row.nr * row.lanes : row.mr;
      // Parts cover all pixels and channels. Parts of channels begin with a panel.
      expect_parts(b.n_parts, pixels, row.rows == Rows::channels ? row.lanes : row.unit);
      if (work.borrowed) {
        ASSERT_EQ(b.n_parts.count, 1);
      }
      expect_parts(b.m_parts, work.m, panel);
      ASSERT_TRUE(1 <= b.n_block && b.n_block <= b.n_parts.largest());
      ASSERT_TRUE(1 <= b.m_block && b.m_block <= b.m_parts.largest());
      ASSERT_TRUE(b.m_block == b.m_parts.largest() || b.m_block % panel == 0);
      ASSERT_EQ(b.pieces, images * work.groups * b.n_parts.count * b.m_parts.count);
      // Only the last block of a part may have a remainder.
      ASSERT_TRUE(b.n_block == b.n_parts.largest() || b.n_block % tile_pixels == 0);
      // Packed src fits a quarter of L2, or has only one tile.
      if (b.packing == Packing::none) {
        ASSERT_EQ(b.packed, 0);
      } else {
        const int64_t inputs = work.k * work.item;
        const int64_t tile = std::min(tile_pixels, pixels) * inputs;
        const int64_t slack = b.packing == Packing::channels ? work.k * 128 : b.n_block * 128;
        ASSERT_GE(b.packed, b.n_block * inputs);
        ASSERT_LE(b.packed, std::max(work.l2 / 4, tile) + slack);
      }
      // If sums are split, the workspace can hold the sums of whole tiles.
      ASSERT_TRUE(1 <= b.k_block && b.k_block <= std::max<int64_t>(1, work.k));
      if (b.k_block >= work.k) {
        ASSERT_EQ(b.sums, 0);
      } else {
        ASSERT_EQ(b.k_block % pointwise::chunk_channels, 0);
        const bool channel_rows = row.rows == Rows::channels;
        const int64_t tile_channels = channel_rows ? panel : std::max<int64_t>(panel, row.nr * row.lanes);
        const int64_t sums_pixels = ceil_div(b.n_block, tile_pixels) * tile_pixels;
        const int64_t sums_channels = ceil_div(b.m_block, tile_channels) * tile_channels;
        ASSERT_EQ(b.sums_row % 64, 0);
        ASSERT_GE(b.sums_row, (channel_rows ? sums_pixels : sums_channels) * work.item);
        ASSERT_GE(b.sums, b.sums_row * (channel_rows ? sums_channels : sums_pixels));
      }
      // Narrow channel rows copy the vectors of one tile, for all input channels of a kernel call.
      if (b.copy > 0) {
        ASSERT_TRUE(row.rows == Rows::channels && row.lanes * work.item < 64);
        ASSERT_EQ(b.copy, b.k_block * row.nr * row.lanes * work.item);
      }
      // The sums of long rows fit an eighth of L2, or consist of a single vector for each output channel.
      if (row.room == nullptr) {
        ASSERT_EQ(b.room, 0);
      } else {
        const int64_t vector = row.lanes * work.item, sums = std::min(work.m, panel) * vector;
        ASSERT_GE(b.room, 2 * sums);
        ASSERT_LE(b.room, std::max(work.l2 / 8, 4 * sums));
      }
      // With borrowed weights, the panels of a block fit half of L2, or there is only one panel.
      if (work.borrowed) {
        ASSERT_GE(b.weights, b.m_block * work.k * work.item);
        ASSERT_LE(b.weights, std::max(work.l2 / 2, work.k * 64));
      } else {
        ASSERT_EQ(b.weights, 0);
      }
      // Packing and unevenly spaced pixels need offsets of the pixels of a block, so the block is limited.
      if (b.packing != Packing::none || !b.even) {
        ASSERT_LE(b.n_block, 2048 + tile_pixels);
      }
      ASSERT_GT(b.cycles, 0);
      ASSERT_TRUE(std::isfinite(b.cycles));
      if (work.threads == 1) {
        ASSERT_EQ(b.pieces, images * work.groups);
      }
    }
    ASSERT_GT(can_run, 0);
    const Blocking chosen = choose_blocking(given, rows);
    double least = chosen.cycles;
    for (const Candidate& c : all)
      if (!c.refused) least = std::min(least, c.blocking.cycles);
    ASSERT_LE(chosen.cycles, (given.threads == 1 ? 1 : 1.1) * least);
    for (const Candidate& c : all)
      if (!c.refused && c.blocking.cycles <= least) {
        ASSERT_LE(chosen.makespan, c.blocking.makespan);
      }
  }
}

// Narrow channel rows copy the pixels of a tile if L1 cannot hold these pixels and the weights, and if enough channels
// read the copy.
TEST(Blocking, CopiesWhereL1IsCrowded) {
  const auto copy = [](const KernelRows& rows, int64_t inputs, int64_t channels) {
    return choose_blocking(work_of(false, 1, 3136, inputs, channels, 1), rows).copy;
  };
  EXPECT_EQ(copy(narrow, 256, 128), 256 * 96);
  EXPECT_EQ(copy(narrow, 192, 128), 0) << "L1 holds the pixels and the weights";
  EXPECT_EQ(copy(narrow, 256, 16), 0) << "too few channels";
  EXPECT_EQ(copy(wide, 512, 128), 0) << "copying makes wide rows slower";
}

// With several threads, the choice has the shortest makespan (the time until the last thread is done) of the blockings
// that are at most 10% slower on one thread. So tiles of two panels can be better than tiles of four panels. For
// example, 160 channels are five tiles of two panels, but two and a half tiles of four panels.
TEST(Blocking, ComesOutEvenOnSeveralThreads) {
  const auto of = [](int threads) { return choose_blocking(work_of(true, 1, 196, 832, 160, threads), wide); };
  EXPECT_EQ(of(1).makespan, of(1).cycles);
  EXPECT_LT(of(2).makespan, 0.6 * of(1).cycles);
  EXPECT_LT(of(4).makespan, 0.35 * of(1).cycles);
}

// Large work has at least one piece for every thread, for any batch size. Larger work has more pieces, so that other
// threads can take pieces from a thread on a slow core.
TEST(Blocking, HasPiecesForEveryThread) {
  for (const bool channels_last : {false, true})
    for (const int64_t images : {1, 3})
      for (const int threads : {2, 8, 32}) {
        SCOPED_TRACE(std::to_string(threads) + " threads, " + std::to_string(images) + " images");
        const auto pieces = [&](int64_t pixels) {
          return choose_blocking(work_of(channels_last, images, pixels, 256, 256, threads), wide).pieces;
        };
        EXPECT_GE(pieces(12544), threads);
        EXPECT_GE(pieces(int64_t{12544} * threads), 4 * threads);
      }
  EXPECT_EQ(choose_blocking(work_of(false, 1, 49, 16, 16, 64), wide).pieces, 1) << "too small to share";
}

// Threads that write neighbouring channels of the same pixels would share cache lines. So pixels are cut instead,
// unless the weights are large.
TEST(Blocking, CutsPixelsWhereChannelsShareLines) {
  const Blocking last = choose_blocking(work_of(true, 1, 12544, 16, 96, 2), wide);
  EXPECT_EQ(last.m_parts.count, 1);
  EXPECT_GE(last.n_parts.count, 2);
  EXPECT_EQ(choose_blocking(work_of(true, 1, 49, 512, 2048, 2), wide).n_parts.count, 1) << "the weights are large";
}

// Each thread begins with a run of pieces. The time of a run differs from an equal share by at most the longest piece.
TEST(Plan, SharesPiecesByWhatTheyTake) {
  Random random(81);
  for (int round = 0; round < 2000; ++round) {
    pointwise::Plan plan{};
    plan.product.boxes = static_cast<int>(random.integer(1, pointwise::max_boxes));
    std::vector<double> cycles;  // the cycles of each piece
    for (int i = 0; i < plan.product.boxes; ++i) {
      plan.blocking[i].pieces = random.integer(1, 20);
      plan.piece_cycles[i] = int64_t{1} << random.integer(0, 60);
      plan.pieces += plan.blocking[i].pieces;
      cycles.insert(cycles.end(), plan.blocking[i].pieces, static_cast<double>(plan.piece_cycles[i]));
    }
    const double all = std::accumulate(cycles.begin(), cycles.end(), 0.0);
    const double longest = *std::max_element(cycles.begin(), cycles.end());
    for (const int parts : {1, 2, 3, 64}) {
      ASSERT_EQ(plan.first_piece(0, parts), 0);
      ASSERT_EQ(plan.first_piece(parts, parts), plan.pieces);
      for (int part = 0; part < parts; ++part) {
        const int64_t begin = plan.first_piece(part, parts), end = plan.first_piece(part + 1, parts);
        ASSERT_LE(begin, end);
        const double share = std::accumulate(cycles.begin() + begin, cycles.begin() + end, 0.0);
        ASSERT_NEAR(share, all / parts, 1.001 * longest);
      }
    }
  }
}

TEST(Blocking, TeamSize) {
  using pointwise::team_size;
  EXPECT_EQ(team_size(full_width, 0, 1, 8), 1);
  EXPECT_EQ(team_size(full_width, 23999, 100, 8), 1);
  EXPECT_EQ(team_size(full_width, 24001, 100, 8), 2);
  EXPECT_EQ(team_size(full_width, 1e9, 100, 8), 8);
  EXPECT_EQ(team_size(full_width, 1e9, 3, 8), 3);
  EXPECT_EQ(team_size(full_width, 1e9, 0, 8), 1);
  EXPECT_EQ(team_size(full_width, 1e18, 1 << 30, 1), 1);
  for (int threads = 1; threads < 64; ++threads) EXPECT_LE(team_size(full_width, 1e6, 1000, threads), threads);
}

}  // namespace
}  // namespace pointwise_tests
