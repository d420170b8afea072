// What the CPU and its caches are, asked once.
#pragma once

#include <cstdint>

namespace pointwise {

bool cpu_has_avx2();    // AVX2 and FMA, usable under this operating system
bool cpu_has_avx512();  // AVX-512 F, BW, DQ and VL, likewise

// Bytes of second-level cache of a core.
int64_t l2_cache_size();

}  // namespace pointwise
