// The constants for all CPUs that have no other file. The values are the constants of Zen 5.
#include "machine/machine.h"

namespace pointwise {

Machine generic() {
  Machine m = zen5();
  m.name = "generic";
  return m;
}

}  // namespace pointwise
