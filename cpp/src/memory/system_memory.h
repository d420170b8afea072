// Memory of the operating system.
#pragma once

#include <cstdint>

namespace pointwise {

// Returns memory that begins at a cache line, or null. `bytes` is a multiple of 64.
char* allocate_lines(int64_t bytes) noexcept;
void free_lines(char* memory) noexcept;

constexpr int64_t huge_page = int64_t{2} << 20;

// Returns memory that begins at a huge page and goes back to the system when it is freed, or null. `bytes` is a
// multiple of 4096. Systems without mmap() use the allocator of the language, which may keep freed memory.
char* map_pages(int64_t bytes) noexcept;
void unmap_pages(char* memory, int64_t bytes) noexcept;

}  // namespace pointwise
