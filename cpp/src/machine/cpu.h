// What the CPU and its caches are, asked once.
#pragma once

#include <cstdint>

namespace pointwise {

bool cpu_has_avx2();    // AVX2 and FMA, usable under this operating system
bool cpu_has_avx512();  // AVX-512 F, BW, DQ and VL, likewise
unsigned amd_family();  // 0 of other CPUs

// Bytes of a core's first- and second-level data caches, and of the third level.
int64_t l1_cache_size();
int64_t l2_cache_size();
int64_t l3_cache_size();

}  // namespace pointwise
