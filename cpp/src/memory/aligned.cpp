#include "memory/aligned.h"

#include <cstdlib>
#include <new>

#include "base/checked.h"
#include "memory/result_pool.h"

namespace pointwise {

void FreeAligned::operator()(void* p) const { std::free(p); }

AlignedBytes allocate_aligned(int64_t bytes) {
  int64_t padded;
  if (!checked_add(bytes, 64, &padded)) throw std::bad_alloc();
  const size_t size = static_cast<size_t>(padded / 64 * 64);
  void* p = std::aligned_alloc(64, size);
  if (p == nullptr) {
    release_idle_buffers();
    p = std::aligned_alloc(64, size);
  }
  if (p == nullptr) throw std::bad_alloc();
  return AlignedBytes(static_cast<char*>(p));
}

}  // namespace pointwise
