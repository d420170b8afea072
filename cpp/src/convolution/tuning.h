// The choices of Layer::tune(), for each shape and dtype of src and each number of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "pointwise/pointwise.h"
#include "product/ways.h"

namespace pointwise {

// A list of choices. All functions may run concurrently and none of them waits for a lock, so that a fork is safe. A
// way is stored as a number, which identifies the way within this process.
class Choices {
 public:
  static constexpr uint64_t predicted = 0;  // the plan that the cost model predicts to be the fastest

  Choices() = default;
  Choices(const Choices&) = delete;
  Choices& operator=(const Choices&) = delete;
  ~Choices();

  // Returns the way, or `predicted` if there is no choice. Sets `*is_tuned` to true if there is a choice.
  uint64_t find(const Shape& src, DType src_dtype, int threads, bool* is_tuned = nullptr) const {
    if (is_tuned) *is_tuned = false;
    const Entry* const first = first_.load(std::memory_order_acquire);
    return first == nullptr ? predicted : find_from(first, src, src_dtype, threads, is_tuned);
  }
  void set(const Shape& src, DType src_dtype, int threads, uint64_t way);
  // Returns the choices of a layer with sums of this dtype.
  std::vector<Choice> all(DType sum) const;

 private:
  struct Entry {
    Shape src;
    DType src_dtype;
    int threads;
    std::atomic<uint64_t> way;
    Entry* next;
  };
  static uint64_t find_from(const Entry* first, const Shape& src, DType src_dtype, int threads, bool* is_tuned);

  std::atomic<Entry*> first_{nullptr};  // entries are added at the beginning, and never removed
};

// Convert a way to a number and back. No way has the number `Choices::predicted`.
uint64_t number_of(const Way& way);
Way way_of(uint64_t number);

}  // namespace pointwise
