// The constants of Intel's Golden Cove. The constants of pages were measured on Emerald Rapids. The rate of memory is
// an estimate. Constants that are not set here equal the constants of Zen 5.
#include "machine/machine.h"

namespace pointwise {

Machine golden_cove() {
  Machine m = zen5();
  m.name = "golden_cove";
  m.tlb_pages = 128;
  m.paged_factor = 1.1;
  m.memory_bytes_per_cycle = 9;
  return m;
}

}  // namespace pointwise
