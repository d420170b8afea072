// Sets the floating-point state of a call: round to nearest, without traps. Subnormals are flushed only if the layer
// has `flush_subnormals`. The caller's state has no effect.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace pointwise {

// Sets the default state for the current thread. The destructor restores the previous state, including exception flags.
// If `flush_subnormals` is true, subnormal operands count as zeros and subnormal results become zeros (DAZ and FTZ). If
// `can_flush` is false, `flush_subnormals` has no effect.
class FloatEnvironment {
 public:
#if defined(__SSE2__)
  static constexpr bool can_flush = true;
  explicit FloatEnvironment(bool flush_subnormals = false) : saved_(_mm_getcsr()) {
    _mm_setcsr(flush_subnormals ? 0x1f80 | 0x8040 : 0x1f80);
  }
  ~FloatEnvironment() { _mm_setcsr(saved_); }
#else
  static constexpr bool can_flush = false;
  explicit FloatEnvironment(bool = false) {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&saved_); }
#endif
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
#if defined(__SSE2__)
  unsigned saved_;
#else
  std::fenv_t saved_;
#endif
};

}  // namespace pointwise
