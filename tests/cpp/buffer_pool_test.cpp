// Tests which buffer the pool of results returns, and which buffers stay idle. The process has one pool, and nothing
// but the tests uses it while they run.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include "memory/result_pool.h"

namespace pointwise_tests {
namespace {

using pointwise::Buffer;
using pointwise::give_buffer;
using pointwise::idle_bytes;
using pointwise::release_idle_buffers;
using pointwise::set_idle_limit;
using pointwise::take_buffer;

constexpr int64_t mib = 1 << 20;

class BufferPool : public testing::Test {
 protected:
  void SetUp() override { release_idle_buffers(); }
  void TearDown() override {
    set_idle_limit(128 * mib);
    release_idle_buffers();
  }
};

TEST_F(BufferPool, BuffersAreLargeEnoughAlignedAndDistinct) {
  for (const int64_t bytes :
       {int64_t{1}, int64_t{4096}, int64_t{4097}, mib, 2 * mib - 1, 2 * mib, 2 * mib + 1, 9 * mib}) {
    const Buffer a = take_buffer(bytes), b = take_buffer(bytes);
    for (const Buffer& buffer : {a, b}) {
      EXPECT_GE(buffer.capacity, bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data) % 64, 0u);
      std::memset(buffer.data, 1, static_cast<size_t>(buffer.capacity));
    }
    EXPECT_TRUE(a.data + a.capacity <= b.data || b.data + b.capacity <= a.data);
    give_buffer(a);
    give_buffer(b);
    EXPECT_EQ(idle_bytes(), a.capacity + b.capacity);
    EXPECT_EQ(take_buffer(bytes).data, b.data) << "the buffer that was used last must come first";
    give_buffer(b);
    release_idle_buffers();
    EXPECT_EQ(idle_bytes(), 0);
  }
}

TEST_F(BufferPool, ALittleLargerWillDo) {
  const Buffer buffer = take_buffer(9 * mib);
  give_buffer(buffer);
  const Buffer smaller = take_buffer(7 * mib);
  EXPECT_NE(smaller.data, buffer.data) << "more than an eighth too large";
  const Buffer fits = take_buffer(8 * mib);
  EXPECT_EQ(fits.data, buffer.data);
  EXPECT_EQ(fits.capacity, buffer.capacity) << "a buffer must keep its capacity";
  give_buffer(smaller);
  give_buffer(fits);
}

TEST_F(BufferPool, TheLongestUnusedGoesFirst) {
  set_idle_limit(3 * mib);
  std::vector<Buffer> buffers;
  for (int i = 0; i < 4; ++i) buffers.push_back(take_buffer(mib));
  for (const Buffer& buffer : buffers) give_buffer(buffer);
  EXPECT_EQ(idle_bytes(), 3 * mib);
  for (int i = 3; i > 0; --i) EXPECT_EQ(take_buffer(mib).data, buffers[static_cast<size_t>(i)].data);
  EXPECT_EQ(idle_bytes(), 0);
  for (int i = 1; i < 4; ++i) give_buffer(buffers[static_cast<size_t>(i)]);
}

TEST_F(BufferPool, NoMemory) {
  give_buffer(take_buffer(mib));
  EXPECT_THROW(take_buffer(std::numeric_limits<int64_t>::max()), std::bad_alloc);
  EXPECT_EQ(idle_bytes(), mib) << "an impossible size must not free idle buffers";
  EXPECT_THROW(take_buffer(int64_t{1} << 60), std::bad_alloc);
  EXPECT_EQ(idle_bytes(), 0) << "idle buffers must be freed before the second attempt";
}

TEST_F(BufferPool, ManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 2000; ++i) {
        const Buffer buffer = take_buffer(4096 * (1 + i % 5));
        std::memset(buffer.data, t, 4096);
        std::this_thread::yield();
        for (int k = 0; k < 4096; k += 512) wrong += buffer.data[k] != t;
        give_buffer(buffer);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace pointwise_tests
