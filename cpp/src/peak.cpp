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
  const int team = openmp_limit(std::max(threads, 1));
  // The first rounds wake the threads and the clock. Any one of them may stall, so that the fastest of a few counts.
  int64_t steps = 1 << 10;
  double seconds = 0;
  while (seconds < block / 2) {
    steps *= 2;
    seconds = run_round(fma_loop, steps, team).seconds;
    for (int i = 0; i < 2; ++i) seconds = std::min(seconds, run_round(fma_loop, steps, team).seconds);
  }
  double best = 0;
  Round round{};
  for (double total = 0; total < enough; total += round.seconds) {
    round = run_round(fma_loop, steps, team);
    best = std::max(best, round.flops / round.seconds);
  }
  return best;
}

double fma_peak(DType dtype, int threads) {
  return fma_peak(dtype == DType::f32 ? kernels<float>().fma_loop : kernels<double>().fma_loop, threads);
}

}  // namespace pointwise
