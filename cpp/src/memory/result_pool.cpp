#include "memory/result_pool.h"

#include <array>
#include <atomic>
#include <new>
#include <type_traits>

#include "base/checked.h"
#include "memory/system_memory.h"

namespace pointwise {
namespace {

constexpr int64_t page = 4096;

// Returns true if a buffer has its own mapping. The mapping is aligned, so that the system can use huge pages. A freed
// mapping always goes back to the system, but an allocator may keep freed memory.
bool is_mapped(int64_t capacity) { return capacity >= huge_page; }

char* system_allocate(int64_t capacity) { return is_mapped(capacity) ? map_pages(capacity) : allocate_lines(capacity); }

void system_free(Buffer buffer) noexcept {
  if (is_mapped(buffer.capacity))
    unmap_pages(buffer.data, buffer.capacity);
  else
    free_lines(buffer.data);
}

// Rounds up to whole pages, so that results of similar sizes can use the same buffers.
int64_t capacity_for(int64_t bytes) {
  int64_t padded;
  if (!checked_add(bytes, page, &padded)) throw std::bad_alloc();
  return round_up(bytes, page);
}

// A lock that a thread tries up to `tries` times, but never waits for (result_pool.h has the reason). Acquire and
// release of the lock order all accesses to the guarded members.
class TryLock {
 public:
  explicit TryLock(std::atomic<bool>* locked, int tries = 100) : locked_(locked) {
    for (int i = 0; i < tries && !owns_; ++i) owns_ = !locked_->exchange(true, std::memory_order_acquire);
  }
  ~TryLock() {
    if (owns_) locked_->store(false, std::memory_order_release);
  }
  TryLock(const TryLock&) = delete;
  TryLock& operator=(const TryLock&) = delete;
  explicit operator bool() const { return owns_; }

 private:
  std::atomic<bool>* locked_;
  bool owns_ = false;
};

class Pool {
 public:
  // Returns an idle buffer of `capacity` bytes or up to an eighth more. Returns a null buffer if there is no such
  // buffer, or if another thread holds the lock.
  Buffer take(int64_t capacity) {
    const TryLock lock(&locked_);
    if (!lock) return {};
    for (int i = count_ - 1; i >= 0; --i) {
      if (idle_[i].capacity < capacity || idle_[i].capacity - capacity > capacity / 8) continue;
      const Buffer found = idle_[i];
      remove(i);
      return found;
    }
    return {};
  }

  // Keeps a buffer. If the pool cannot keep all buffers, frees older buffers or this buffer. All buffers are freed
  // after the pool is unlocked.
  void give(Buffer buffer) {
    std::array<Buffer, most_idle + 1> over;
    int overs = 0;
    {
      const TryLock lock(&locked_);
      if (!lock || buffer.capacity > limit_) {
        over[overs++] = buffer;
      } else {
        while (count_ == most_idle || (count_ > 0 && bytes_ + buffer.capacity > limit_)) {
          over[overs++] = idle_[0];
          remove(0);
        }
        idle_[count_++] = buffer;
        bytes_ += buffer.capacity;
      }
    }
    for (int i = 0; i < overs; ++i) system_free(over[i]);
  }

  // Frees buffers until the idle buffers have no more than `limit` bytes. Frees the buffers first that have been idle
  // longest. Tries the lock long enough for another thread to release it. Gives up if the lock was held at a fork.
  void shrink(int64_t limit) {
    std::array<Buffer, most_idle> over;
    int overs = 0;
    {
      const TryLock lock(&locked_, 1 << 20);
      if (!lock) return;
      while (count_ > 0 && bytes_ > limit) {
        over[overs++] = idle_[0];
        remove(0);
      }
    }
    for (int i = 0; i < overs; ++i) system_free(over[i]);
  }

  void set_limit(int64_t limit) {
    limit_ = limit;
    shrink(limit);
  }

  int64_t bytes() const { return bytes_; }

 private:
  static constexpr int most_idle = 64;

  void remove(int i) {
    bytes_ -= idle_[i].capacity;
    for (--count_; i < count_; ++i) idle_[i] = idle_[i + 1];
  }

  std::atomic<bool> locked_{false};     // guards `idle_`, `count_` and changes of `bytes_`
  std::array<Buffer, most_idle> idle_;  // longest idle first
  int count_ = 0;
  std::atomic<int64_t> bytes_{0}, limit_{int64_t{128} << 20};
};

// Initialized at compile time and never destroyed, because arrays may be freed after static objects are destroyed.
Pool the_pool;
static_assert(std::is_trivially_destructible_v<Pool>);
Pool& pool() { return the_pool; }

}  // namespace

Buffer take_buffer(int64_t bytes) {
  const int64_t capacity = capacity_for(bytes);
  Buffer buffer = pool().take(capacity);
  if (buffer.data != nullptr) return buffer;
  buffer = {system_allocate(capacity), capacity};
  if (buffer.data == nullptr) {
    release_idle_buffers();
    buffer.data = system_allocate(capacity);
  }
  if (buffer.data == nullptr) throw std::bad_alloc();
  return buffer;
}

void give_buffer(Buffer buffer) noexcept { pool().give(buffer); }
void release_idle_buffers() noexcept { pool().shrink(0); }
void set_idle_limit(int64_t bytes) noexcept { pool().set_limit(bytes); }
int64_t idle_bytes() noexcept { return pool().bytes(); }

}  // namespace pointwise
