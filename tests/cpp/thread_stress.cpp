// Uses all shared objects from several threads at once: layers, chains, plans, choices, the result pool, settings, and
// values that are computed on first use. This program is for ThreadSanitizer, which also finds races that give right
// results. The preset tsan runs the program with Archer, which tells ThreadSanitizer how OpenMP synchronizes.
//
// Usage: thread_stress [rounds]

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memory/result_pool.h"
#include "pointwise/pointwise.h"
#include "threads/parallel.h"

namespace {

using pointwise::Chain;
using pointwise::DType;
using pointwise::Layer;
using pointwise::Options;
using pointwise::View;

std::atomic<int> wrong{0};

void check(bool right, const char* what) {
  if (!right && wrong++ < 10) std::fprintf(stderr, "wrong: %s\n", what);
}

// Returns a layer whose weights are ones. If src is filled with v, every result is c_in * v.
Layer ones(int64_t c_in, int64_t c_out) {
  const std::vector<float> weights(static_cast<size_t>(c_in * c_out), 1.0f);
  return Layer(View(weights.data(), DType::f32, {c_out, c_in}), nullptr, Options());
}

constexpr int64_t channels = 48;
constexpr int64_t sizes[] = {1, 3, 8, 17, 30, 41, 44, 47, 52, 56};  // a layer does not cache plans for all of these

// Calls `run` with a src of ones of this size, and checks that it fills dst with `expected`.
void call(int64_t size, float expected, const std::function<void(const View&, const View&)>& run, const char* what) {
  const std::vector<float> src(static_cast<size_t>(channels * size * size), 1.0f);
  const pointwise::Buffer result = pointwise::take_buffer(static_cast<int64_t>(src.size() * sizeof(float)));
  float* const dst = reinterpret_cast<float*>(result.data);
  const pointwise::Shape shape{1, channels, size, size};
  run(View(src.data(), DType::f32, shape), View(dst, DType::f32, shape));
  check(std::all_of(dst, dst + src.size(), [expected](float v) { return v == expected; }), what);
  pointwise::give_buffer(result);
}

// Runs `work(thread, round)` on several threads at once, for all rounds.
void at_once(int threads, int rounds, const std::function<void(int, int)>& work) {
  std::atomic<int> waiting{threads};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      for (int i = 0; i < rounds; ++i) work(t, i);
    });
  for (std::thread& thread : all) thread.join();
}

int64_t size_of(int thread, int round) { return sizes[(thread * 3 + round) % std::size(sizes)]; }

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 30;
  constexpr int threads = 6;
  pointwise::neighbour.ignore(true);  // so that teams have the requested size, even on a busy machine
  // All threads call at the same time before any earlier call. So they race to compute values that are computed on
  // first use.
  std::vector<std::unique_ptr<Layer>> first(threads);
  at_once(threads, 1, [&](int t, int) {
    first[static_cast<size_t>(t)] = std::make_unique<Layer>(ones(channels, channels));
    call(
        56, channels, [&](const View& src, const View& dst) { (*first[static_cast<size_t>(t)])(src, dst); },
        "a first call");
  });

  const Layer shared = ones(channels, channels), wide = ones(channels, 2 * channels),
              narrow = ones(2 * channels, channels);
  const Chain chain({&wide, &narrow});
  pointwise::set_thread_count(4);
  check(shared.explain({1, channels, 56, 56}).find("4 of 4 thread(s)") != std::string::npos, "teams of four");
  const auto with = [](const auto& operation, int team) {
    return [&operation, team](const View& src, const View& dst) { operation(src, dst, nullptr, team); };
  };
  at_once(threads, rounds, [&](int t, int i) {
    call(size_of(t, i), channels, with(shared, 2 + (t + i) % 3), "one layer of many threads");
    call(size_of(t, i), 2 * channels * channels, with(chain, 2 + i % 3), "one chain of many threads");
  });
  at_once(threads, rounds, [&](int t, int i) {
    const int64_t size = sizes[i % 3];
    if (t < 2)
      check(shared.tune({1, channels, size, size}, std::nullopt, 1e-3) >= 1, "tuning");
    else
      call(size, channels, with(shared, 1 + (t + i) % 4), "a call beside tuning");
    check(shared.choices().size() <= 3, "choices");
  });
  at_once(threads, rounds, [&](int t, int i) {
    const Layer own = ones(channels, channels);  // created and destroyed while others run
    call(size_of(t, i), channels, with(own, 2 + i % 3), "a layer of each thread");
  });
  at_once(threads, rounds, [&](int t, int i) {  // change settings during calls that read them
    if (t == 0) {
      pointwise::set_thread_count(1 + i % 4);
    } else if (t == 1) {
      pointwise::set_idle_limit((i % 3) << 20);
      pointwise::release_idle_buffers();
      check(pointwise::idle_bytes() >= 0, "idle bytes");
    } else if (t == 2) {
      pointwise::neighbour.ignore(i % 2 == 0);
    } else {
      const int before = pointwise::set_calling_thread_count(i % 3);
      call(size_of(t, i), channels, with(shared, 0), "a call beside settings");
      pointwise::set_calling_thread_count(before);
      check(!shared.explain({1, channels, 56, 56}).empty(), "explain");
    }
  });
  pointwise::set_idle_limit(int64_t{1} << 20);
  at_once(threads, 100 * rounds, [&](int t, int i) {  // use only the pool
    const pointwise::Buffer buffer = pointwise::take_buffer(4096 * (1 + (t + i) % 5));
    std::memset(buffer.data, t, 64);
    pointwise::give_buffer(buffer);
  });
  // Give buffers back on another thread than the one that took them.
  std::vector<pointwise::Buffer> made(threads);
  for (int i = 0; i < rounds; ++i) {
    at_once(threads, 1, [&](int t, int) {
      made[static_cast<size_t>(t)] = pointwise::take_buffer(1 << 16);
      std::memset(made[static_cast<size_t>(t)].data, t, 1 << 16);
    });
    at_once(threads, 1, [&](int t, int) {
      const pointwise::Buffer& other = made[static_cast<size_t>((t + 1) % threads)];
      check(other.data[5] == (t + 1) % threads, "a result of another thread");
      pointwise::give_buffer(other);
    });
  }
  std::printf("%d wrong\n", wrong.load());
  return wrong == 0 ? 0 : 1;
}
