#include "peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "dispatch.h"
#include "parallel.h"

namespace pointwise {
namespace {

struct Round {
  double flops, seconds;
};

// One loop a thread. Timed as a whole, so that a thread which comes late counts against the result.
Round run_round(double (*loop)(int64_t), int64_t steps, int threads) {
  std::atomic<int64_t> flops{0};
  const auto begin = std::chrono::steady_clock::now();
  parallel(threads, threads, [&](int64_t, int) { flops += static_cast<int64_t>(loop(steps)); });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {static_cast<double>(flops), elapsed.count()};
}

}  // namespace

double fma_peak(double (*fma_loop)(int64_t), int threads) {
  constexpr double block = 2e-3;  // seconds: long against a parallel region, short against a neighbour's time slice
  constexpr double enough = 18e-3;
  constexpr int least_blocks = 5;
  const int team = openmp_limit(std::max(threads, 1));
  // The length of a block comes from the fastest of a few short runs of this thread alone: a team on a busy machine may
  // stall in every one, and its blocks would be too short to say anything.
  constexpr int64_t probe = 1 << 14;
  double fastest = run_round(fma_loop, probe, 1).seconds;
  for (int i = 0; i < 8; ++i) fastest = std::min(fastest, run_round(fma_loop, probe, 1).seconds);
  const int64_t steps = std::max(probe, static_cast<int64_t>(probe * block / fastest));
  run_round(fma_loop, probe, team);  // wakes the threads
  double best = 0, total = 0;
  for (int i = 0; i < least_blocks || total < enough; ++i) {
    const Round round = run_round(fma_loop, steps, team);
    best = std::max(best, round.flops / round.seconds);
    total += round.seconds;
  }
  return best;
}

double fma_peak(DType dtype, int threads) {
  return fma_peak(dtype == DType::f32 ? kernels<float>().fma_loop : kernels<double>().fma_loop, threads);
}

}  // namespace pointwise
