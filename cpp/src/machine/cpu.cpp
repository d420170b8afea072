#include "machine/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if !defined(POINTWISE_PORTABLE_SYSTEM) && (defined(__unix__) || defined(__APPLE__))
#define POINTWISE_SYSCONF
#include <unistd.h>
#endif

#include <atomic>
#include <fstream>

#include "base/lazy.h"

namespace pointwise {

#if defined(__x86_64__)
// __builtin_cpu_supports also checks that the operating system saves the wide registers (XGETBV).
bool cpu_has_avx2() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool converts_float16 = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
  return converts_float16 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool cpu_has_avx512() {
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool cpu_has_avx512_bf16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned avx512_bf16 = 1u << 5;
  return cpu_has_avx512() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & avx512_bf16) != 0;
}

bool cpu_has_avx2_vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned avx_vnni = 1u << 4;  // g++ 12 knows no name for this feature
  return cpu_has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & avx_vnni) != 0;
}

bool cpu_has_avx512_vnni() { return cpu_has_avx512() && __builtin_cpu_supports("avx512vnni"); }

unsigned amd_family() {
  static Lazy<unsigned> family;
  return family.get([] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__builtin_cpu_is("amd") || __get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return 0u;
    return (eax >> 8 & 0xf) + (eax >> 20 & 0xff);
  });
}

bool cpu_is_intel() { return __builtin_cpu_is("intel"); }
#else
bool cpu_has_avx2() { return false; }
bool cpu_has_avx512() { return false; }
bool cpu_has_avx512_bf16() { return false; }
bool cpu_has_avx2_vnni() { return false; }
bool cpu_has_avx512_vnni() { return false; }
unsigned amd_family() { return 0; }
bool cpu_is_intel() { return false; }
#endif

namespace {

// Returns the size that the system reports, or `otherwise` if the system reports no size.
#if defined(POINTWISE_SYSCONF) && defined(_SC_LEVEL1_DCACHE_SIZE)
constexpr int l1 = _SC_LEVEL1_DCACHE_SIZE, l2 = _SC_LEVEL2_CACHE_SIZE, l3 = _SC_LEVEL3_CACHE_SIZE;

int64_t cache_size(int name, int64_t otherwise) {
  const int64_t bytes = sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}
#else
constexpr int l1 = 1, l2 = 2, l3 = 3;

int64_t cache_size(int, int64_t otherwise) { return otherwise; }
#endif

std::atomic<int64_t> assumed_l3{0};

}  // namespace

void assume_l3_cache_size(int64_t bytes) { assumed_l3 = bytes; }

int64_t l1_cache_size() {
  static Lazy<int64_t> size;
  return size.get([] { return cache_size(l1, int64_t{32} << 10); });
}

int64_t l2_cache_size() {
  static Lazy<int64_t> size;
  return size.get([] { return cache_size(l2, int64_t{1} << 20); });
}

int64_t l3_cache_size() {
  if (const int64_t assumed = assumed_l3; assumed > 0) return assumed;
  static Lazy<int64_t> size;
  return size.get([] {
    // Reads the size of the L3 cache of CPU 0. sysconf() may return the sum of all L3 caches of the package. (On an
    // EPYC with Zen 5 it returned 402 MB. The L3 cache of CPU 0 has 32 MiB.)
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
    int64_t number = 0;
    char unit = 0;
    if (file >> number >> unit && number > 0 && unit == 'K') return number << 10;
    return cache_size(l3, int64_t{32} << 20);
  });
}

}  // namespace pointwise
