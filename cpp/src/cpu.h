// What the CPU and its caches are, asked once.
#pragma once

#include <cstdint>

namespace pointwise {

bool cpu_has_avx2();    // AVX2 and FMA, usable under this operating system
bool cpu_has_avx512();  // AVX-512 F, BW, DQ and VL, likewise

struct CacheSizes {
  int64_t l1, l2, l3;  // bytes of data cache that one core sees
};
const CacheSizes& cache_sizes();

}  // namespace pointwise
