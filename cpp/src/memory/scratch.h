// Memory that calls work in.
#pragma once

#include "memory/aligned.h"

namespace pointwise {

// Memory that a calling thread keeps from call to call, so that a hot call allocates nothing.
class Scratch {
 public:
  char* get(int64_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      size_ = 0;
      memory_ = allocate_aligned(bytes);
      size_ = bytes;
    }
    return memory_.get();
  }
  // What is kept is bounded: a call that needed more gives it back.
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
