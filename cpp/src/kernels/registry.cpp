#include "kernels/registry.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "base/float_environment.h"
#include "base/lazy.h"
#include "machine/cpu.h"
#include "pointwise/pointwise.h"

namespace pointwise {

static_assert(activation_kinds == Activation::kinds, "kernel tables have one entry for each kind of activation");

namespace {

bool always() { return true; }

#if defined(__x86_64__)
// Returns true if the CPU has AVX512-BF16, and its dot product gives the bits of two multiply-adds.
bool dot_keeps_order() {
  static Lazy<bool> keeps;
  return keeps.get([] {
    const FloatEnvironment environment(true);
    return cpu_has_avx512_bf16() && avx512_bf16.keeps_order();
  });
}

// Returns true if a dot product takes no longer than a multiply-add. On AMD's CPUs from Zen 4 on, it takes the same
// time. On Intel's CPUs it takes four times as long, so converting bfloat16 to float32 is faster. (Emerald Rapids: a
// dot product takes 2 cycles, a multiply-add half a cycle.)
bool dot_is_fast() { return amd_family() >= 0x19; }
#endif

}  // namespace

const std::vector<Isa>& all_isas() {
  static Lazy<std::vector<Isa>> isas;
  return isas.get([] {
    return std::vector<Isa>{
#if defined(__x86_64__)
        {"avx512_bf16", "avx512", dot_keeps_order, dot_is_fast, &avx512_f32, &avx512_f64, &avx512_bf16,
         cpu_has_avx512_vnni() ? &avx512vnni_i32 : &avx512_i32},
        {"avx512_vnni", "avx512", cpu_has_avx512_vnni, always, &avx512_f32, &avx512_f64, nullptr, &avx512vnni_i32},
        {"avx512", "avx512", cpu_has_avx512, always, &avx512_f32, &avx512_f64, nullptr, &avx512_i32},
#if defined(POINTWISE_AVX_VNNI)
        {"avx2_vnni", "avx2", cpu_has_avx2_vnni, always, &avx2_f32, &avx2_f64, nullptr, &avx2vnni_i32},
#endif
        {"avx2", "avx2", cpu_has_avx2, always, &avx2_f32, &avx2_f64, nullptr, &avx2_i32},
#endif
        {"portable", "portable", always, always, &portable_f32, &portable_f64, nullptr, &portable_i32},
    };
  });
}

namespace {

// Returns the text with A to Z in lower case, in every locale.
std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

const Isa& select() {
  const char* forced = std::getenv("POINTWISE_ISA");
  if (forced == nullptr || *forced == '\0') {
    for (const Isa& isa : all_isas())
      if (isa.preferred() && isa.supported()) return isa;
  }
  const std::string wanted = lower_case(forced);
  std::string names;
  for (const Isa& isa : all_isas()) {
    if (wanted == isa.name) {
      if (isa.supported()) return isa;
      throw std::runtime_error(std::string("POINTWISE_ISA=") + forced + ": this CPU does not support it");
    }
    names += (names.empty() ? "" : ", ") + std::string(isa.name);
  }
  throw std::runtime_error(std::string("POINTWISE_ISA=") + forced + ": expected one of " + names);
}

}  // namespace

const Isa& selected_isa() {
  static Lazy<Isa> isa;
  return isa.get(select);
}

std::string isa() { return selected_isa().name; }

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : all_isas())
    if (isa.supported()) names.push_back(isa.name);
  return names;
}

}  // namespace pointwise
