// What the parts of pointwise_bench share.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
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

// Times the benchmark's loop by the wall clock and counts FLOP/s, and what share of `peak` FLOP/s that is. (Rates of
// Google Benchmark go by the calling thread's CPU time, and cannot be a percentage.)
template <class Call>
void time_flops(benchmark::State& state, double flops_per_call, double peak, const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  const double rate = flops_per_call * static_cast<double>(state.iterations()) / elapsed.count();
  state.counters["FLOP/s"] = rate;
  state.counters["peak%"] = 100 * rate / peak;
}

}  // namespace pointwise_bench
