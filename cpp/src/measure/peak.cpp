#include "measure/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "kernels/registry.h"
#include "threads/parallel.h"

namespace pointwise {
namespace {

struct Round {
  double flops, seconds;
};

// Times all threads together, so that a late thread reduces the result. Each thread has several pieces, as in a call.
// If one core is delayed, the other cores compute its pieces. Otherwise a layer could be faster than the measured peak.
Round run_round(double (*loop)(int64_t), int64_t steps, int threads) {
  constexpr int pieces = 8;
  std::atomic<int64_t> flops{0};
  const auto begin = std::chrono::steady_clock::now();
  parallel(threads, pieces * threads, EvenRuns{pieces * threads},
           [&](int64_t, int) { flops += static_cast<int64_t>(loop(steps / pieces)); });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {static_cast<double>(flops), elapsed.count()};
}

// Copies bytes with non-temporal stores. Uses plain stores for the bytes before the first whole line of `to` and after
// the last whole line.
void stream(char* to, const char* from, int64_t bytes) {
#if defined(__SSE2__)
  constexpr int64_t line = 64;
  const int64_t head = std::min<int64_t>(bytes, -reinterpret_cast<intptr_t>(to) & (line - 1));
  std::memcpy(to, from, head);
  int64_t done = head;
  for (; done + line <= bytes; done += line) {
    for (int i = 0; i < line; i += 16) {
      const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + done + i));
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + done + i), part);
    }
  }
  std::memcpy(to + done, from + done, bytes - done);
  _mm_sfence();  // makes the stores visible to other threads before the copy counts as done
#else
  std::memcpy(to, from, bytes);
#endif
}

}  // namespace

double fma_peak(double (*fma_loop)(int64_t), int threads, int blocks, double block) {
  const int team = openmp_limit(std::max(threads, 1));
  // Chooses the number of steps of a run from the fastest of a few short runs on this thread alone. On a busy machine,
  // all short runs of a team may be delayed, which would give too few steps.
  constexpr int64_t probe = 1 << 14;
  double fastest = run_round(fma_loop, probe, 1).seconds;
  for (int i = 0; i < 8; ++i) fastest = std::min(fastest, run_round(fma_loop, probe, 1).seconds);
  const int64_t steps = std::max(probe, static_cast<int64_t>(probe * block / fastest));
  run_round(fma_loop, probe, team);  // wakes the threads
  double best = 0;
  for (int i = 0; i < std::max(blocks, 1); ++i) {
    const Round round = run_round(fma_loop, steps, team);
    best = std::max(best, round.flops / round.seconds);
  }
  return best;
}

double fma_peak(DType dtype, int threads, int blocks, double block) {
  return fma_peak(kernels(dtype).fma_loop, threads, blocks, block);
}

void streaming_copy(void* to, const void* from, int64_t bytes, int threads) {
  constexpr int64_t piece = 1 << 20;
  const int64_t pieces = (bytes + piece - 1) / piece;
  parallel(openmp_limit(std::max(threads, 1)), pieces, EvenRuns{pieces}, [&](int64_t i, int) {
    stream(static_cast<char*>(to) + i * piece, static_cast<const char*>(from) + i * piece,
           std::min(piece, bytes - i * piece));
  });
}

}  // namespace pointwise
