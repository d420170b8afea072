#include "threads/openmp_runtime.h"

#if !defined(POINTWISE_PORTABLE_SYSTEM) && defined(__linux__)
#define POINTWISE_LINUX
#include <dlfcn.h>
#include <link.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "threads/openmp.h"
#include "threads/team_size.h"

namespace pointwise {

#if defined(POINTWISE_LINUX)
namespace {

struct Library {
  std::string path, name;           // path that was loaded; SONAME, or the file name if there is no SONAME
  std::vector<std::string> needed;  // SONAMEs of the libraries that the library needs
  bool own = false;                 // true if the library (or program) contains this code
};

std::string file_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

// Returns true for SONAMEs of OpenMP runtimes, such as libgomp.so.1, libgomp-a34b3233.so.1.0.0 and libiomp5.so.
bool is_runtime(const std::string& name) {
  for (const char* const runtime : {"libgomp", "libomp", "libiomp5"}) {
    const size_t length = std::strlen(runtime);
    if (name.compare(0, length, runtime) == 0 && (name[length] == '.' || name[length] == '-')) return true;
  }
  return false;
}

// Reads the dynamic section of a loaded object.
Library read_library(const dl_phdr_info& info) {
  Library library;
  library.path = info.dlpi_name;
  const ElfW(Dyn)* dynamic = nullptr;
  const auto here = reinterpret_cast<ElfW(Addr)>(&is_runtime);
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr) & header = info.dlpi_phdr[i];
    const ElfW(Addr) begin = info.dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_DYNAMIC) dynamic = reinterpret_cast<const ElfW(Dyn)*>(begin);
    if (header.p_type == PT_LOAD && begin <= here && here < begin + header.p_memsz) library.own = true;
  }
  if (dynamic == nullptr) return library;
  const char* strings = nullptr;
  for (const ElfW(Dyn)* entry = dynamic; entry->d_tag != DT_NULL; ++entry)
    if (entry->d_tag == DT_STRTAB) {
      // glibc has added the address of the object to the entry, except for the vDSO of the kernel.
      const ElfW(Addr) table = entry->d_un.d_ptr;
      strings = reinterpret_cast<const char*>(table < info.dlpi_addr ? info.dlpi_addr + table : table);
    }
  if (strings == nullptr) return library;
  for (const ElfW(Dyn)* entry = dynamic; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_SONAME) library.name = strings + entry->d_un.d_val;
    if (entry->d_tag == DT_NEEDED) library.needed.emplace_back(strings + entry->d_un.d_val);
  }
  if (library.name.empty()) library.name = file_name(library.path);
  return library;
}

std::vector<Library> loaded_libraries() {
  std::vector<Library> libraries;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* found) {
        static_cast<std::vector<Library>*>(found)->push_back(read_library(*info));
        return 0;
      },
      &libraries);
  return libraries;
}

template <class Function>
bool find_function(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

// Fills in the function pointers and keeps the library loaded. Returns false if the library is not loaded any more, or
// lacks one of the functions.
bool open_runtime(OpenMPRuntime* runtime) {
  void* const library = dlopen(runtime->path.c_str(), RTLD_NOLOAD | RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return false;
  int (*num_procs)();
  if (find_function(library, "GOMP_parallel", &runtime->parallel) &&
      find_function(library, "omp_get_thread_num", &runtime->thread_num) &&
      find_function(library, "omp_get_max_threads", &runtime->max_threads) &&
      find_function(library, "omp_in_parallel", &runtime->in_parallel) &&
      find_function(library, "omp_get_num_procs", &num_procs)) {
    runtime->threads_at_start = openmp_threads_at_start(num_procs());
    return true;
  }
  dlclose(library);
  return false;
}

// Paths of runtimes that open_runtime() keeps loaded, even if the libraries that use these runtimes are unloaded.
// Guarded by `searching`. Never destroyed.
std::vector<std::string>& kept = *new std::vector<std::string>;

// Finds the runtimes that other libraries use, and returns the one that was loaded last, or null. The caller must hold
// `searching`.
std::unique_ptr<const OpenMPRuntime> search() {
  const std::vector<Library> libraries = loaded_libraries();
  for (auto runtime = libraries.rbegin(); runtime != libraries.rend(); ++runtime) {
    if (!is_runtime(runtime->name)) continue;
    bool own = false;
    OpenMPRuntime found{};
    for (const Library& library : libraries) {
      if (is_runtime(library.name)) continue;
      if (std::find(library.needed.begin(), library.needed.end(), runtime->name) == library.needed.end()) continue;
      if (library.own)
        own = true;
      else
        found.user = file_name(library.path);
    }
    // Some libraries, such as MKL, load their runtime at run time, so no library lists the runtime as needed. But a
    // kept runtime may be loaded only because of open_runtime(). So a kept runtime without a user does not count.
    const bool is_kept = std::find(kept.begin(), kept.end(), runtime->path) != kept.end();
    if (found.user.empty() && (own || is_kept)) continue;
    found.path = runtime->path;
    if (!open_runtime(&found)) continue;
    if (!is_kept && !found.user.empty()) kept.push_back(runtime->path);
    return std::make_unique<const OpenMPRuntime>(found);
  }
  return nullptr;
}

constexpr int64_t look_again = 2000000;  // nanoseconds between two calls of count_changes()

// How threads share the result of a search:
//
// - `searching` is a lock that threads try but never wait for. A thread that does not get the lock returns the last
//   result. Acquire and release of `searching` order the accesses to `kept` and `looked_at`.
// - `known` is stored with release after the object is complete, and loaded with acquire. So readers see a complete
//   object. They need no lock, because objects are immutable and never deleted.
// - `next_look` only saves time. A stale value causes one more call of count_changes(), or delays the next call.
// - A thread of the parent may hold `searching` at a fork. Then the lock stays held in the child, and the child never
//   searches. Calls in a child need no search, because they run on one thread (openmp_limit).
std::atomic<const OpenMPRuntime*> known{nullptr};
std::atomic<uint64_t> looked_at{0};  // count_changes() before the search for `known`
std::atomic<int64_t> next_look{0};
std::atomic<bool> searching{false};

// Returns how many times the process has loaded or unloaded a library.
uint64_t count_changes() {
  uint64_t count = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        *static_cast<uint64_t*>(result) = info->dlpi_adds + info->dlpi_subs;
        return 1;  // stops the iteration, because each object reports the same counts
      },
      &count);
  return count;
}

}  // namespace

const OpenMPRuntime* other_openmp() { return known.load(std::memory_order_acquire); }

const OpenMPRuntime* find_other_openmp(int64_t now) {
  if (!has_openmp || now < next_look.load(std::memory_order_relaxed)) return other_openmp();
  if (searching.exchange(true, std::memory_order_acquire)) return other_openmp();
  const uint64_t count = count_changes();  // before search(), so that a library loaded during it is found later
  if (count != looked_at.load(std::memory_order_relaxed)) {
    try {
      std::unique_ptr<const OpenMPRuntime> found = search();
      const OpenMPRuntime* const before = known.load(std::memory_order_relaxed);
      // The old object is not deleted, because another thread may be about to call its functions.
      if (found == nullptr || before == nullptr || found->path != before->path || found->user != before->user)
        known.store(found.release(), std::memory_order_release);
      looked_at.store(count, std::memory_order_relaxed);
    } catch (const std::bad_alloc&) {  // `looked_at` is unchanged, so the next call searches again
    }
  }
  next_look.store(now + look_again, std::memory_order_relaxed);
  searching.store(false, std::memory_order_release);
  return other_openmp();
}
#else
const OpenMPRuntime* other_openmp() { return nullptr; }
const OpenMPRuntime* find_other_openmp(int64_t) { return nullptr; }
#endif

}  // namespace pointwise
