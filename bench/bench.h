// Declarations that the files of pointwise_bench share.
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

// Registers a benchmark for each kernel row of each instruction set of the CPU. The block of the benchmark stays in L1.
void register_kernels();
// Registers a benchmark for each layer of the tables in each of the two layouts and each dtype. Throws
// std::runtime_error if a table cannot be read.
void register_layers(const Settings& settings);
// Registers benchmarks of the gradients of these layers, and of gram matrices. Throws as register_layers().
void register_gradients(const Settings& settings);

// Pseudo-random numbers, the same in every run.
class Random {
 public:
  // Returns an integer in [-range, range].
  int integer(int range) { return static_cast<int>(next() % (2 * range + 1)) - range; }
  // Returns a number in [-1, 1).
  double real() { return static_cast<double>(next()) / (1u << 30) - 1; }

 private:
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }
  uint64_t state_ = 1;
};

// Returns a time in seconds. For one thread it is the thread's CPU time, because contention does not change it. For
// several threads it is the wall clock.
inline double seconds(int threads) {
  timespec t;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Runs the loop of the benchmark. Reports FLOP/s, also in percent of `peak`. Google Benchmark's own rates always use
// the CPU time of the calling thread, and cannot be percentages.
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
