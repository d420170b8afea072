// Allocates memory between two pages that fault, so that tests find accesses outside of the memory.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>

namespace pointwise_tests {

// Pages between two pages that fault. A test puts data at the beginning or at the end, next to a page that faults.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (bytes + page - 1) / page * page;
    mapped_ = size_ + 2 * page;
    void* p = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<char*>(p);
    begin_ = base_ + page;
    if (mprotect(begin_, size_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  }
  ~GuardedMemory() { munmap(base_, mapped_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  size_t size() const { return size_; }
  char* at_begin() const { return begin_; }                              // the byte before it faults
  char* at_end(size_t bytes) const { return begin_ + (size_ - bytes); }  // the byte after `bytes` faults
  char* forbidden() const { return begin_ + size_; }                     // any access faults

 private:
  char *base_, *begin_;
  size_t size_, mapped_;
};

}  // namespace pointwise_tests
