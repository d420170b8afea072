// A value computed on first use.
//
// Lazy never blocks. If two threads race, both may compute the value, and the first result is kept. A static variable
// of a function would block. Suppose that a process forks while another thread initializes a static variable. The child
// would wait forever, because it does not have the initializing thread.
#pragma once

#include <atomic>

namespace pointwise {

// Lazy is for static objects. The value is never destroyed, so that destructors of other static objects may use it.
template <class T>
class Lazy {
 public:
  // Returns the value, which `find` computes on first use. If `find` throws, nothing is kept.
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
