// Integer kernels for any CPU. A vector has 16 bytes and uses the vector extension of the compiler.
#include "kernels/steps.h"

namespace pointwise {
namespace {

struct Vec {
  using Number = int32_t;
  using Mask = int;
  static constexpr int lanes = 4, step = 1;
  static constexpr bool has_halves = false;
  using Interleave = InterleaveOne;
  typedef uint32_t Words __attribute__((vector_size(16)));  // sums are computed modulo 2^32
  typedef int32_t Native __attribute__((vector_size(16)));
  typedef float Floats __attribute__((vector_size(16)));
  Native v;

  static Vec fill(int32_t number) { return {number - Native{}}; }
  static Vec broadcast(const char* p) { return fill(read<int32_t>(p)); }
  static Mask first(int n) { return n; }
  static Vec load(const char* p) { return {read<Native>(p)}; }
  static Vec load(const char* p, Mask n) {
    Vec r{};
    for (int i = 0; i < n; ++i) r.v[i] = read<int32_t>(p + i * sizeof(int32_t));
    return r;
  }
  void store(char* p) const { __builtin_memcpy(p, &v, sizeof(v)); }
  void store(char* p, Mask n) const { __builtin_memcpy(p, &v, n * sizeof(int32_t)); }
  void stream(char* p) const { store(p); }
  static void fence() {}
  // Adds the products of the two words of each lane.
  static Vec fma(Vec a, Vec b, Vec c) {
    const Native lower = ((Native)((Words)a.v << 16) >> 16) * ((Native)((Words)b.v << 16) >> 16);
    const Native upper = (a.v >> 16) * (b.v >> 16);
    return {(Native)((Words)c.v + (Words)lower + (Words)upper)};
  }
  static Vec add(Vec a, Vec b) { return {(Native)((Words)a.v + (Words)b.v)}; }
  static Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  static void transpose(Vec (&m)[lanes]) {
    for (int i = 0; i < lanes; ++i)
      for (int j = 0; j < i; ++j) {
        const int32_t t = m[i].v[j];
        m[i].v[j] = m[j].v[i];
        m[j].v[i] = t;
      }
  }

  static Floats floats(float number) { return number - Floats{}; }
  static Floats load_floats(const float* p) { return read<Floats>(reinterpret_cast<const char*>(p)); }

  class Requantizer {
   public:
    explicit Requantizer(const Rounding& r) : rounding_(r) {}
    void one(const char* sums, Floats factor, char* to) const {
      constexpr float shift = 3 << 22;  // adding it rounds to an integer
      const Floats product = __builtin_convertvector(read<Native>(sums), Floats) * factor;
      for (int i = 0; i < lanes; ++i) {
        const float least = product[i] < rounding_.high ? product[i] : rounding_.high;
        const float rounded = (least > rounding_.low ? least : rounding_.low) + shift - shift;
        to[i] = static_cast<char>(static_cast<int32_t>(rounded) + rounding_.zero);
      }
    }
    void four(const char* sums, Floats f0, Floats f1, Floats f2, Floats f3, char* to) const {
      one(sums, f0, to);
      one(sums + sizeof(Native), f1, to + lanes);
      one(sums + 2 * sizeof(Native), f2, to + 2 * lanes);
      one(sums + 3 * sizeof(Native), f3, to + 3 * lanes);
    }

   private:
    const Rounding rounding_;
  };
};

}  // namespace

const IntegerKernels portable_i32 = {
    {},
    words_kernels<Vec, 4, 2, 4, 2>("gemm_words_4x8_channels_portable", "gemm_words_4x8_pixels_portable"),
    requantize<Vec>};

}  // namespace pointwise
