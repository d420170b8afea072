// Measures the errors of the kernels' activations, for all 2^32 float32 numbers and for 2^25 float64 numbers.
//
//     activation_errors [--sample N] [activation ...]
//
// Compares with libm in a wider type. Uses every instruction set of this CPU, or the instruction set that POINTWISE_ISA
// names. With --sample, tries every Nth number. The exit status is 1 if an error exceeds a bound of
// cpp/src/kernels/activations.h. The exit status is also 1 if an infinity, a NaN or a zero differs from the definition,
// or if the bits of AVX2 and AVX-512 differ.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/activation_reference.h"
#include "kernels/registry.h"

namespace {

using pointwise::Activation;
using Kind = Activation::Kind;

struct Case {
  const char* name;
  Kind kind;
  double ulps_f32, ulps_f64;  // promised bounds
  double a = 0, b = 0;        // parameters; float32 holds them exactly
};

// The reference rounds a product to the wide type, so an error of leaky_relu can be a little above 0.5 ULP.
const double half = 0.5 + 1e-3;
const Case cases[] = {
    {"relu6", Kind::relu6, 0, 0},
    {"clip", Kind::clip, 0, 0, -1.25, 2.5},
    {"leaky_relu", Kind::leaky_relu, half, half, 0.01f},
    {"elu", Kind::elu, 2, 4, 1.6732632f},
    {"sigmoid", Kind::sigmoid, 2, 4},
    {"tanh", Kind::tanh, 2, 4},
    {"silu", Kind::silu, 2, 4},
    {"hardsigmoid", Kind::hardsigmoid, 2, 4},
    {"hardswish", Kind::hardswish, 2, 4},
    {"gelu", Kind::gelu, 4, 4},
    {"gelu_tanh", Kind::gelu_tanh, 4, 4},
    {"softplus", Kind::softplus, 4, 4},
    {"mish", Kind::mish, 4, 4},
};

template <class T>
struct Found {
  double ulps = 0;  // the largest error; absolute errors up to 2^-2p |v| do not count
  T at = 0;
  int64_t wrong = 0;  // number of infinities, NaN, signs of zeros and saturated values that differ from the definition
  T wrong_at = 0;
  int64_t differ = 0;  // number of results whose bits differ from the first instruction set

  void merge(const Found& other) {
    if (other.ulps > ulps) ulps = other.ulps, at = other.at;
    if (other.wrong > 0) wrong_at = other.wrong_at;
    wrong += other.wrong;
    differ += other.differ;
  }
};

template <class T, class R>
void compare(Kind kind, T v, T got, R want, Found<T>& found) {
  const bool linear = kind == Kind::hardsigmoid || kind == Kind::hardswish;
  const bool must_equal = std::isinf(v) || (linear && std::fabs(v) >= 3);
  if (std::isnan(want) || std::isnan(got) || must_equal || (want == 0 && got == 0)) {
    const bool same = std::isnan(want) ? std::isnan(got) : got == want && std::signbit(got) == std::signbit(want);
    if (!same) ++found.wrong, found.wrong_at = v;
    return;
  }
  const R error = std::fabs(static_cast<R>(got) - want);
  if (error <= std::ldexp(R(1), -2 * std::numeric_limits<T>::digits) * std::fabs(v)) return;
  int exponent;
  std::frexp(want, &exponent);
  exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
  const double ulps = static_cast<double>(std::ldexp(error, std::numeric_limits<T>::digits - exponent));
  if (ulps > found.ulps) found.ulps = ulps, found.at = v;
}

constexpr int64_t chunk = 1 << 14;

float number(int64_t i, float) {
  const uint32_t bits = static_cast<uint32_t>(i);
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// Returns number i of a sequence. The first numbers are listed here. Other numbers are in [-40, 40] if i is even. If i
// is odd, all bits are random, so the exponent may have any value.
double number(int64_t i, double) {
  constexpr double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double named[] = {0.0, -0.0, infinity, -infinity, nan, 1e308, -1e308, 5e-324, -5e-324, 3, -3, 6, -6};
  if (i < static_cast<int64_t>(std::size(named))) return named[i];
  uint64_t bits = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u;  // splitmix64
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  bits ^= bits >> 31;
  if (i % 2 == 0) return std::ldexp(static_cast<double>(static_cast<int64_t>(bits)), -63) * 40;
  double v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// Tries number(0), number(step), number(2 * step), ... below `count`. Prints a line for each instruction set. Returns
// true if no instruction set exceeds a bound.
template <class T, class R>
bool measure(const Case& c, const std::vector<pointwise::Isa>& isas, int64_t count, int64_t step) {
  std::vector<Found<T>> found(isas.size());
  using pointwise::Number;
  const Number parameters[2] = {Number::of(static_cast<T>(c.a)), Number::of(static_cast<T>(c.b))};
  const Activation activation{c.kind, c.a, c.b};
#pragma omp parallel
  {
    std::vector<Found<T>> mine(isas.size());
    alignas(64) static thread_local T v[chunk], first[chunk], got[chunk];
    std::vector<R> want(chunk);
#pragma omp for schedule(dynamic)
    for (int64_t begin = 0; begin < count; begin += chunk * step) {
      for (int64_t i = 0; i < chunk; ++i) {
        v[i] = number(std::min(begin + i * step, count - 1), T());
        want[i] = pointwise::reference_activation<R>(activation, v[i]);
      }
      for (size_t k = 0; k < isas.size(); ++k) {
        const pointwise::KernelTable& table =
            isas[k].kernels(sizeof(T) == 4 ? pointwise::DType::f32 : pointwise::DType::f64);
        std::copy(v, v + chunk, got);
        char* const bytes = reinterpret_cast<char*>(got);
        const int64_t vectors = chunk / table.rows[0].lanes;
        table.activations[static_cast<int>(c.kind)](parameters, bytes, vectors, bytes, vectors, 0);
        if (k == 0) std::copy(got, got + chunk, first);
        if (k > 0 && std::memcmp(first, got, sizeof got) == 0) {
          mine[k].merge(mine[0]);  // the results are the same, so the errors are the same, too
          continue;
        }
        for (int64_t i = 0; i < chunk; ++i) {
          compare<T, R>(c.kind, v[i], got[i], want[i], mine[k]);
          if (std::memcmp(&first[i], &got[i], sizeof(T)) != 0 && !(std::isnan(first[i]) && std::isnan(got[i])))
            ++mine[k].differ;
        }
      }
    }
#pragma omp critical
    for (size_t k = 0; k < isas.size(); ++k) found[k].merge(mine[k]);
  }
  bool good = true;
  for (size_t k = 0; k < isas.size(); ++k) {
    const Found<T>& f = found[k];
    const bool portable = std::string(isas[k].name) == "portable", bits = f.differ == 0 || portable;
    const double promised = sizeof(T) == 4 ? c.ulps_f32 : c.ulps_f64;
    const bool fine = f.ulps <= promised && f.wrong == 0 && bits;
    std::printf("%-12s float%-3d %-9s %7.3f ULP at %-16.9g %s", c.name, static_cast<int>(8 * sizeof(T)), isas[k].name,
                f.ulps, static_cast<double>(f.at), fine ? "good" : "BROKEN");
    if (f.wrong > 0)
      std::printf(" (%lld wrong, at %.17g)", static_cast<long long>(f.wrong), static_cast<double>(f.wrong_at));
    if (k > 0 && bits && f.differ == 0) std::printf(", bits as %s", isas[0].name);
    if (!bits) std::printf(" (%lld bits differ)", static_cast<long long>(f.differ));
    std::printf("\n");
    good = good && fine;
  }
  std::fflush(stdout);
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  int64_t step = 1;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--sample" && i + 1 < argc) {
      step = std::max(1LL, std::atoll(argv[++i]));
    } else if (std::none_of(std::begin(cases), std::end(cases), [&](const Case& c) { return word == c.name; })) {
      std::fprintf(stderr, "activation_errors [--sample N] [activation ...]: no activation %s\n", word.c_str());
      return 2;
    } else {
      names.push_back(word);
    }
  }
  std::vector<pointwise::Isa> isas;
  const std::string selected = pointwise::selected_isa().floating;
  for (const pointwise::Isa& isa : pointwise::all_isas()) {
    if (std::string(isa.name) != isa.floating) continue;
    if (std::getenv("POINTWISE_ISA") != nullptr ? selected == isa.name : isa.supported()) isas.push_back(isa);
  }
  bool good = true;
  for (const Case& c : cases) {
    if (!names.empty() && std::find(names.begin(), names.end(), c.name) == names.end()) continue;
    good = measure<float, double>(c, isas, int64_t{1} << 32, step) && good;
    good = measure<double, long double>(c, isas, int64_t{1} << 25, step) && good;
  }
  return good ? 0 : 1;
}
