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

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = [] {
    CacheSizes s{32 << 10, 1 << 20, 16 << 20};  // where the system does not say
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    const long l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (l1 > 0) s.l1 = l1;
    if (l2 > 0) s.l2 = l2;
    if (l3 > 0) s.l3 = l3;
#endif
    return s;
  }();
  return sizes;
}

}  // namespace pointwise
