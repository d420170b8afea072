// What is found out once, when it is first asked for.
//
// Unlike a static variable of a function, nobody waits for a thread that is at it: a child that was forked meanwhile
// would wait for ever, as that thread does not live in it. Threads that meet find it out twice, and keep the first.
#pragma once

#include <atomic>

namespace pointwise {

// For static objects: it is never destroyed, so that calls may come from destructors of other static objects.
template <class T>
class Lazy {
 public:
  // `find` may throw; then nothing is kept.
  template <class Find>
  const T& get(const Find& find) {
    const T* known = value_.load(std::memory_order_acquire);
    if (known != nullptr) return *known;
    const T* const found = new T(find());
    if (value_.compare_exchange_strong(known, found, std::memory_order_acq_rel, std::memory_order_acquire))
      return *found;
    delete found;
    return *known;
  }

 private:
  std::atomic<const T*> value_{nullptr};
};

}  // namespace pointwise
