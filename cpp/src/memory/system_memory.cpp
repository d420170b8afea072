#include "memory/system_memory.h"

#if !defined(POINTWISE_PORTABLE_SYSTEM) && (defined(__unix__) || defined(__APPLE__))
#define POINTWISE_POSIX
#include <sys/mman.h>

#include <cstdlib>
#endif

#include <cstddef>
#include <new>

#include "base/checked.h"

namespace pointwise {

#if defined(POINTWISE_POSIX)
char* allocate_lines(int64_t bytes) noexcept {
  return static_cast<char*>(std::aligned_alloc(64, static_cast<size_t>(bytes)));
}

void free_lines(char* memory) noexcept { std::free(memory); }

// Maps one huge page more than needed, then unmaps the unused memory at both ends.
char* map_pages(int64_t bytes) noexcept {
  int64_t padded;
  if (!checked_add(bytes, huge_page, &padded)) return nullptr;
  void* p = mmap(nullptr, static_cast<size_t>(padded), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(p);
  const int64_t before = (huge_page - static_cast<int64_t>(reinterpret_cast<uintptr_t>(p) % huge_page)) % huge_page;
  if (before > 0) munmap(begin, static_cast<size_t>(before));
  munmap(begin + before + bytes, static_cast<size_t>(huge_page - before));
#if defined(MADV_HUGEPAGE)
  madvise(begin + before, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
  return begin + before;
}

void unmap_pages(char* memory, int64_t bytes) noexcept { munmap(memory, static_cast<size_t>(bytes)); }
#else
char* allocate_lines(int64_t bytes) noexcept {
  return static_cast<char*>(::operator new(static_cast<size_t>(bytes), std::align_val_t{64}, std::nothrow));
}

void free_lines(char* memory) noexcept { ::operator delete(memory, std::align_val_t{64}); }
char* map_pages(int64_t bytes) noexcept { return allocate_lines(bytes); }
void unmap_pages(char* memory, int64_t) noexcept { free_lines(memory); }
#endif

}  // namespace pointwise
