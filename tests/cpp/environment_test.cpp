// Tests how calls depend on the state of the process: floating-point state, threads, forks and the selected instruction
// set.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <sstream>
#include <thread>

#include "kernels/few_outputs.h"
#include "kernels/half_rows.h"
#include "kernels/registry.h"
#include "measure/peak.h"
#include "problem.h"
#include "product/blocking.h"
#include "threads/openmp.h"
#include "threads/parallel.h"
#include "threads/system_threads.h"
#include "threads/workers.h"

namespace pointwise_tests {
namespace {

using pointwise::DType;
using pointwise::Layer;

// A layer whose results are all inexact. Some of the results are subnormal.
class Environment : public testing::Test {
 protected:
  Environment() : random_(60) {
    weights_ = reals<float>(40 * 100, random_);
    src_ = reals<float>(100 * pixels, random_);
    for (size_t i = 0; i < src_.size(); i += 3) src_[i] *= 1e-38f;
    for (size_t i = 0; i < 20 * 100; ++i) weights_[i] *= 1e-5f;
    for (size_t i = 0; i < src_.size(); ++i)
      if (i % pixels < 9) src_[i] = std::numeric_limits<float>::denorm_min() * static_cast<float>(1 + i % 7);
  }
  std::vector<float> run(int threads) const { return run(layer(), threads); }
  std::vector<float> run(const Layer& layer, int threads) const {
    std::vector<float> dst(40 * pixels, 77);
    layer(View(src_.data(), DType::f32, {1, 100, pixels}), View(dst.data(), DType::f32, {1, 40, pixels}), nullptr,
          threads);
    return dst;
  }
  Layer layer(bool flush_subnormals = false) const {
    Options options;
    options.flush_subnormals = flush_subnormals;
    options.layout = "NCW";
    return Layer(View(weights_.data(), DType::f32, {40, 100}), nullptr, options);
  }

  static constexpr int64_t pixels = 3000;
  Random random_;
  std::vector<float> weights_, src_;
};

#if defined(__SSE2__)
TEST_F(Environment, FloatingPointStateChangesNothingAndStays) {
  constexpr unsigned start = 0x1f80, flush = 0x8040, downward = 0x2000, upward = 0x4000, toward_zero = 0x6000;
  const std::vector<float> expected = run(1);
  // Without subnormal results, the test would prove nothing.
  EXPECT_GT(std::count_if(expected.begin(), expected.end(), [](float v) { return std::fpclassify(v) == FP_SUBNORMAL; }),
            0);
  const unsigned before = _mm_getcsr();
  for (const unsigned state : {start, start | flush, start | downward, start | upward, start | toward_zero | flush})
    for (const int threads : {1, 2, 3}) {
      const auto layer_made_before = layer();
      _mm_setcsr(state);
      std::vector<float> dst(40 * pixels, 77);
      layer_made_before(View(src_.data(), DType::f32, {1, 100, pixels}), View(dst.data(), DType::f32, {1, 40, pixels}),
                        nullptr, threads);
      const unsigned after = _mm_getcsr();
      _mm_setcsr(before);
      EXPECT_EQ(after, state) << "the exception flags must not change, either";
      EXPECT_TRUE(same_bits(dst, expected)) << "MXCSR " << state << ", " << threads << " threads";
    }
}

// Calls function(thread) on every thread of a team of `threads`.
template <class Function>
void on_each_of_a_team(int threads, const Function& function) {
#if defined(_OPENMP)
  if (pointwise::threading(0).threading == pointwise::Threading::openmp) {
#pragma omp parallel num_threads(threads)
    function(omp_get_thread_num());
    return;
  }
#endif
  struct Context {
    const Function* function;
    int threads;
    mutable std::atomic<int> inside;
  } context{&function, threads, {0}};
  const auto take_part = [](const void* given, int thread) {
    const Context& c = *static_cast<const Context*>(given);
    (*c.function)(thread);
    ++c.inside;
    while (c.inside < c.threads) std::this_thread::yield();
  };
  ASSERT_TRUE(pointwise::with_workers(threads, take_part, &context));
}

// Before the call, each thread has a different floating-point state. The result does not depend on these states, and
// each thread has the same state afterwards.
TEST_F(Environment, EveryThreadsStateStays) {
  pointwise::force_teams(true);
  constexpr unsigned states[] = {0x1f80, 0x1f80 | 0x8040 | 0x11, 0x1f80 | 0x6000, 0x1f80 & ~0x280u};
  constexpr int threads = 4;
  const Layer plain = layer(), flushing = layer(true);
  const std::vector<float> expected = run(plain, 1), flushed = run(flushing, 1);
  EXPECT_FALSE(same_bits(expected, flushed));
  std::array<unsigned, threads> after{};
  const auto set_states = [&](bool given) {
    on_each_of_a_team(threads, [&](int thread) { _mm_setcsr(given ? states[thread] : states[0]); });
  };
  for (const bool flush : {false, true}) {
    std::vector<float> dst(40 * pixels, 77);
    set_states(true);
    (flush ? flushing : plain)(View(src_.data(), DType::f32, {1, 100, pixels}),
                               View(dst.data(), DType::f32, {1, 40, pixels}), nullptr, threads);
    on_each_of_a_team(threads, [&](int thread) { after[static_cast<size_t>(thread)] = _mm_getcsr(); });
    set_states(false);
    for (int i = 0; i < threads; ++i) EXPECT_EQ(after[static_cast<size_t>(i)], states[i]) << "thread " << i;
    EXPECT_TRUE(same_bits(dst, flush ? flushed : expected)) << (flush ? "flushed" : "not flushed");
  }
  pointwise::force_teams(false);
}

// A floating-point trap that the caller has enabled does not fire in operations on layers, and stays enabled.
TEST_F(Environment, TrapsDoNotFire) {
  src_[0] = std::numeric_limits<float>::infinity();
  weights_.assign(weights_.size(), 0.0f);
  const View src(src_.data(), DType::f32, {1, 100, pixels});
  std::vector<float> dst(40 * pixels), scale(100, 1e38f);
  const View dst_view(dst.data(), DType::f32, {1, 40, pixels}), scales(scale.data(), DType::f32, {1, 100});
  const unsigned before = _mm_getcsr(), traps = 0x1f80 & ~0xf80u;  // all traps except the one for inexact results
  for (const int threads : {1, 3})
    for (const bool flush : {false, true}) {
      _mm_setcsr(traps);
      const Layer made = layer(flush);
      const pointwise::Chain chain({&made});
      made(src, dst_view, nullptr, threads);
      made(src, dst_view, nullptr, threads, &scales);
      chain(src, dst_view, nullptr, threads);
      made.explain(src.shape);
      bool refused = false;
      try {
        made(dst_view, dst_view);
      } catch (const pointwise::Error&) {
        refused = true;
      }
      const unsigned after = _mm_getcsr();
      _mm_setcsr(before);
      EXPECT_EQ(after, traps) << "the exception flags must not change, either";
      EXPECT_TRUE(refused);
      EXPECT_TRUE(std::isnan(dst[0]));
    }
}
#endif

#if defined(_OPENMP)
TEST_F(Environment, WorksInParallelRegions) {
  const std::vector<float> expected = run(2);
  std::array<bool, 2> right{};
#pragma omp parallel num_threads(2)
  {
    if (omp_get_num_threads() == 2) {
      EXPECT_EQ(pointwise::openmp_limit(8), 1);
    }
    right[static_cast<size_t>(omp_get_thread_num())] = same_bits(run(8), expected);
    if (omp_get_num_threads() == 1) right[1] = true;
  }
  EXPECT_TRUE(right[0] && right[1]);
}
#endif

TEST_F(Environment, WorksInForkedChildren) {
  if (!pointwise::sees_forks) GTEST_SKIP() << "this build calls no functions of POSIX";
  const std::vector<float> expected = run(2);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);  // a hang is a failure
    _exit(pointwise::openmp_limit(8) == 1 && same_bits(run(8), expected) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(Threads, TheCallingThreadsSettingComesFirst) {
  const int standard = pointwise::thread_count();
  EXPECT_GE(standard, 1);
  pointwise::set_thread_count(5);
  EXPECT_EQ(pointwise::thread_count(), 5);
  EXPECT_EQ(pointwise::set_calling_thread_count(3), 0);
  EXPECT_EQ(pointwise::thread_count(), 3);
  EXPECT_EQ(pointwise::set_calling_thread_count(0), 3);
  EXPECT_EQ(pointwise::thread_count(), 5);
  pointwise::set_thread_count(0);
  EXPECT_EQ(pointwise::thread_count(), standard);
}

TEST(Threads, AreLimited) {
  EXPECT_EQ(pointwise::openmp_limit(1), 1);
  EXPECT_EQ(pointwise::openmp_limit(64), 64);
  EXPECT_EQ(pointwise::openmp_limit(1 << 30), pointwise::most_threads);
  pointwise::set_thread_limit(3);
  EXPECT_EQ(pointwise::openmp_limit(64), 3);
  pointwise::set_thread_limit(0);
}

#if defined(_OPENMP)
TEST(Threads, AnOpenMPLimitCaps) {
  EXPECT_TRUE(pointwise::has_openmp);
  const int before = omp_get_max_threads();
  EXPECT_EQ(pointwise::most_threads, std::max(64, 4 * omp_get_num_procs()));
  const int other = before == 1 ? 2 : 1;
  omp_set_num_threads(other);
  EXPECT_EQ(pointwise::openmp_limit(1000), other);
  EXPECT_EQ(pointwise::openmp_limit(1), 1);
  omp_set_num_threads(before);
}
#else
TEST(Threads, AreWorkersWithoutOpenMP) {
  EXPECT_FALSE(pointwise::has_openmp);
  const pointwise::ThreadingChoice choice = pointwise::threading(0);
  EXPECT_EQ(choice.threading, pointwise::Threading::workers);
  EXPECT_EQ(choice.runtime, nullptr);
}
#endif

TEST(Dispatch, RunsWhatTheTestWanted) {
  if (const char* wanted = std::getenv("POINTWISE_ISA")) {
    EXPECT_EQ(pointwise::isa(), wanted);
  }
  const std::vector<std::string> supported = pointwise::supported_isas();
  EXPECT_EQ(supported.back(), "portable");
  EXPECT_NE(std::find(supported.begin(), supported.end(), pointwise::isa()), supported.end());
}

// Fails if a new instruction set is in the registry, but its name is missing in the CMakeLists.txt of these tests.
TEST(Dispatch, EveryInstructionSetHasItsTestRun) {
  std::istringstream words(POINTWISE_TESTED_ISAS);
  const std::vector<std::string> tested{std::istream_iterator<std::string>(words), {}};
  for (const pointwise::Isa& isa : pointwise::all_isas())
    EXPECT_NE(std::find(tested.begin(), tested.end(), isa.name), tested.end()) << isa.name;
}

TEST(Dispatch, KernelNamesSayWhatTheyAre) {
  const auto check = [](const auto& table, const char* type, const char* isa) {
    for (int i = 0; i < table.rows.count; ++i) {
      const auto& row = table.rows[i];
      const bool with_half = row.refuses == pointwise::pairs_refuse || row.refuses == pointwise::halves_refuse;
      const char* rows = row.refuses == pointwise::pairs_refuse        ? "pairs"
                         : row.refuses == pointwise::halves_refuse     ? "halves"
                         : row.refuses == pointwise::quads_refuse      ? "quads"
                         : row.refuses == pointwise::byte_quads_refuse ? "quads"
                         : row.refuses == pointwise::long_rows_refuse  ? "long"
                         : row.refuses == pointwise::planes_refuse     ? "planes"
                         : row.dense                                   ? "interleaved"
                         : row.reads == pointwise::Reads::own          ? "diagonal"
                         : row.rows == pointwise::Rows::channels       ? "channels"
                                                                       : "pixels";
      const int lanes = with_half ? row.lanes + row.lanes / 2 : row.nr * row.lanes;
      const char* name = row.types.x == row.types.w ? type : row.types.y == row.types.x ? "u8u8" : "u8";
      EXPECT_EQ(std::string(row.name), std::string("gemm_") + name + "_" + std::to_string(row.mr) + "x" +
                                           std::to_string(lanes) + "_" + rows + "_" + isa);
    }
  };
  for (const pointwise::Isa& isa : pointwise::all_isas()) {
    check(*isa.f32, "f32", isa.floating);
    check(*isa.f64, "f64", isa.floating);
    if (isa.bf16 != nullptr) check(*isa.bf16, "bf16", "avx512_bf16");
  }
}

TEST(Peak, IsPlausible) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const double peak = pointwise::fma_peak(dtype, 1, 5);
    EXPECT_GT(peak, 1e8);
    EXPECT_LT(peak, 1e13);
  }
}

TEST(StreamingCopy, CopiesEveryByteAndNoOther) {
  constexpr int64_t piece = 1 << 20;
  std::vector<char> source(3 * piece), target(source.size());
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<char>(i % 251 + 1);
  for (const int threads : {1, 3}) {
    for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, int64_t{200}, 2 * piece + 77}) {
      for (const int64_t offset : {1, 16, 63, 64}) {
        std::fill(target.begin(), target.end(), '\0');
        pointwise::streaming_copy(&target[offset], &source[7], bytes, threads);
        const auto begin = target.begin() + offset, end = begin + bytes;
        EXPECT_TRUE(std::equal(begin, end, source.begin() + 7)) << bytes << " bytes at " << offset;
        EXPECT_TRUE(std::all_of(target.begin(), begin, [](char byte) { return byte == 0; }));
        EXPECT_TRUE(std::all_of(end, target.end(), [](char byte) { return byte == 0; }));
      }
    }
  }
}

}  // namespace
}  // namespace pointwise_tests
