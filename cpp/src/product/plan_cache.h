// A cache of the newest plans of a layer or a chain. The cache is bounded and thread-safe.
//
// A thread never waits for the lock. If a process forks while another thread holds the lock, the lock stays held in the
// child forever. A thread that does not get the lock makes the plan again, which is cheap.
#pragma once

#include <array>
#include <memory>
#include <mutex>

#include "product/plan.h"

namespace pointwise {

// Everything that a plan depends on.
struct PlanKey {
  Shape src;  // determines the other shapes
  DType src_dtype = DType::f32, dst_dtype = DType::f32;
  Sizes src_strides{}, dst_strides{}, residual_strides{};
  int64_t scale_stride = 0;
  bool residual = false, scaled = false;
  int threads = 0;
  uint64_t way = 0;  // the choice of Layer::tune; 0 if the plan is predicted
  bool operator==(const PlanKey& o) const {
    return way == o.way && src == o.src && src_dtype == o.src_dtype && dst_dtype == o.dst_dtype &&
           threads == o.threads && residual == o.residual && scaled == o.scaled && scale_stride == o.scale_stride &&
           same(src_strides, o.src_strides) && same(dst_strides, o.dst_strides) &&
           same(residual_strides, o.residual_strides);
  }
};

inline PlanKey key_of(const View& src, const View& dst, const View* residual, const View* input_scale, int threads) {
  PlanKey key;
  key.src = src.shape;
  key.src_dtype = src.dtype;
  key.dst_dtype = dst.dtype;
  key.src_strides = src.strides;
  key.dst_strides = dst.strides;
  if (residual) {
    key.residual = true;
    key.residual_strides = residual->strides;
  }
  if (input_scale) {
    key.scaled = true;
    key.scale_stride = input_scale->strides[0];
  }
  key.threads = threads;
  return key;
}

// A cache of plans. P is Plan, ChainPlan or BorrowedPlan.
template <class P, class Key = PlanKey>
class PlanCache {
 public:
  // Returns the plan, or null if it is not in the cache or the lock is taken. Any type that can be compared with Key
  // may describe the plan.
  template <class Query>
  std::shared_ptr<const P> find(const Query& key) const {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return nullptr;
    for (const Entry& entry : entries_)
      if (entry.plan && entry.key == key) return entry.plan;
    return nullptr;
  }
  // Replaces the oldest plan, unless the lock is taken.
  void insert(const Key& key, std::shared_ptr<const P> plan) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (lock.owns_lock()) entries_[next_++ % entries_.size()] = {key, std::move(plan)};
  }

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const P> plan;
  };
  mutable std::mutex mutex_;
  std::array<Entry, 8> entries_;
  size_t next_ = 0;
};

}  // namespace pointwise
