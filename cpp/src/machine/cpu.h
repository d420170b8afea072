// Features of the CPU and the sizes of its caches, detected once.
#pragma once

#include <cstdint>

namespace pointwise {

// Returns true if CPU and operating system support AVX2 and FMA.
bool cpu_has_avx2();
// Returns true if CPU and operating system support AVX2, FMA and AVX-512 F, BW, DQ and VL.
bool cpu_has_avx512();
// Returns true if CPU and operating system support AVX2, FMA and AVX-VNNI.
bool cpu_has_avx2_vnni();
// Returns true if CPU and operating system support AVX-512 as above, and AVX512-VNNI.
bool cpu_has_avx512_vnni();
// Returns true if CPU and operating system support AVX-512 and AVX512-VNNI as above, and AVX512-BF16.
bool cpu_has_avx512_bf16();
// Returns the family of an AMD CPU, or 0 for other CPUs.
unsigned amd_family();
// Returns true for CPUs of Intel.
bool cpu_is_intel();

// Return the sizes in bytes of three caches: the L1 data cache and the L2 cache of a core, and the L3 cache that cores
// share.
int64_t l1_cache_size();
int64_t l2_cache_size();
int64_t l3_cache_size();

// For tests: makes l3_cache_size() return `bytes`. 0 makes it return the size that was detected.
void assume_l3_cache_size(int64_t bytes);

}  // namespace pointwise
