// Scratch memory of calls.
#pragma once

#include "memory/aligned.h"

namespace pointwise {

// Memory that a calling thread keeps from call to call, so that a repeated call allocates nothing.
class Scratch {
 public:
  // Returns 64-byte aligned memory with undefined contents. Invalidates the memory that get() returned earlier. Throws
  // std::bad_alloc.
  char* get(int64_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      size_ = 0;
      memory_ = allocate_aligned(bytes);
      size_ = bytes;
    }
    return memory_.get();
  }
  // Frees the memory if it is larger than a thread may keep.
  void trim() {
    if (size_ > most_kept) {
      memory_.reset();
      size_ = 0;
    }
  }

 private:
  static constexpr int64_t most_kept = 8 << 20;
  AlignedBytes memory_;
  int64_t size_ = 0;
};

}  // namespace pointwise
