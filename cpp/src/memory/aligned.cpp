#include "memory/aligned.h"

#include <new>

#include "base/checked.h"
#include "memory/result_pool.h"
#include "memory/system_memory.h"

namespace pointwise {

void FreeAligned::operator()(char* p) const { free_lines(p); }

AlignedBytes allocate_aligned(int64_t bytes) {
  int64_t padded;
  if (!checked_add(bytes, 64, &padded)) throw std::bad_alloc();
  char* p = allocate_lines(padded / 64 * 64);
  if (p == nullptr) {
    release_idle_buffers();
    p = allocate_lines(padded / 64 * 64);
  }
  if (p == nullptr) throw std::bad_alloc();
  return AlignedBytes(p);
}

}  // namespace pointwise
