// Memory that begins at a line of the cache.
#pragma once

#include <cstdint>
#include <memory>

namespace pointwise {

// 64-byte aligned memory. Throws std::bad_alloc.
struct FreeAligned {
  void operator()(void* p) const;
};
using AlignedBytes = std::unique_ptr<char, FreeAligned>;
AlignedBytes allocate_aligned(int64_t bytes);

}  // namespace pointwise
