// What the parts of pointwise_bench share.
#pragma once

#include <benchmark/benchmark.h>
#include <time.h>

#include <cstdint>
#include <string>

namespace pointwise_bench {

struct Settings {
  std::string layers = POINTWISE_LAYERS;  // directory of layer tables, or one table
  int threads = 1;
};

// Every kernel row of every instruction set that the CPU has, on a block in L1.
void register_kernels();
// Every layer of the tables, in both layouts. Throws std::runtime_error for a table that cannot be read.
void register_layers(const Settings& settings);

// Deterministic pseudo-random numbers: the same data in every run.
class Random {
 public:
  // An integer in [-range, range].
  int integer(int range) { return static_cast<int>(next() % (2 * range + 1)) - range; }
  // In [-1, 1).
  double real() { return static_cast<double>(next()) / (1u << 30) - 1; }

 private:
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }
  uint64_t state_ = 1;
};

// Seconds: of this thread's CPU where it works alone, which a busy neighbour leaves as they are; else of the wall
// clock.
inline double seconds(int threads) {
  timespec t;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Runs the benchmark's loop and counts FLOP/s, and what share of `peak` FLOP/s that is. (Rates of Google Benchmark go
// by the calling thread's CPU time whatever the threads, and cannot be a percentage.)
template <class Call>
void time_flops(benchmark::State& state, int threads, double flops_per_call, double peak, const Call& call) {
  const double begin = seconds(threads);
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  const double rate = flops_per_call * static_cast<double>(state.iterations()) / (seconds(threads) - begin);
  state.counters["FLOP/s"] = rate;
  state.counters["peak%"] = 100 * rate / peak;
}

}  // namespace pointwise_bench
