// Memory of results, recycled: a fresh large array costs page faults that exceed the arithmetic (16 -> 96
// channels at 8x112x112, one thread: 3.3 ms in fresh memory, 1.5 in recycled).
//
// Idle buffers are kept up to a limit, the last used first to go out again; what is over the limit goes back to the
// system, the longest unused first. Nobody waits for the lock (a child forked while another thread held it would wait
// for ever): who does not get it goes to the system.
#pragma once

#include <cstdint>

namespace pointwise {

struct Buffer {
  char* data = nullptr;
  int64_t capacity = 0;  // at least what was asked for
};

// Results of this size and more are worth a buffer: they begin at a line of the cache, too (an array of NumPy's own may
// not: 0.5% on average). Below it the system's allocator is as fast.
constexpr int64_t least_pooled = int64_t{16} << 10;

// 64-byte aligned. Where the system has no memory, idle buffers go back to it and it is asked again; then
// std::bad_alloc.
Buffer take_buffer(int64_t bytes);
void give_buffer(Buffer buffer) noexcept;

void release_idle_buffers() noexcept;
void set_idle_limit(int64_t bytes) noexcept;  // 128 MiB until it is set
int64_t idle_bytes() noexcept;

}  // namespace pointwise
