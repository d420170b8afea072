#include "cpu.h"

#include <unistd.h>

namespace pointwise {

#if defined(__x86_64__)
// __builtin_cpu_supports also asks the operating system (XGETBV) whether it keeps the wide registers.
bool cpu_has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool cpu_has_avx512() {
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
bool cpu_has_avx2() { return false; }
bool cpu_has_avx512() { return false; }
#endif

int64_t l2_cache_size() {
  static const int64_t size = [] {
    int64_t bytes = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return bytes > 0 ? bytes : int64_t{1} << 20;  // where the system does not say
  }();
  return size;
}

}  // namespace pointwise
