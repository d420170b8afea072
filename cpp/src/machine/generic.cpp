// The constants of every other CPU: those of Zen 5.
#include "machine/machine.h"

namespace pointwise {

Machine generic() {
  Machine m = zen5();
  m.name = "generic";
  return m;
}

}  // namespace pointwise
