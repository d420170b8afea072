// Allocates memory that begins at a cache line.
#pragma once

#include <cstdint>
#include <memory>

namespace pointwise {

struct FreeAligned {
  void operator()(char* p) const;
};
using AlignedBytes = std::unique_ptr<char, FreeAligned>;

// Returns 64-byte aligned memory. If the system has no memory, returns the idle buffers of the result pool to the
// system and tries again. Throws std::bad_alloc if the second attempt fails, too.
AlignedBytes allocate_aligned(int64_t bytes);

}  // namespace pointwise
