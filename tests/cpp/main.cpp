// Runs the tests with the instruction set of POINTWISE_ISA. CTest runs the tests once for each instruction set. If the
// CPU does not support the instruction set, the exit status is the number that CMakeLists.txt declares as "skipped".
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "kernels/registry.h"
#include "threads/parallel.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* wanted = std::getenv("POINTWISE_ISA");
  for (const pointwise::Isa& isa : pointwise::all_isas())
    if (wanted != nullptr && std::string(wanted) == isa.name && !isa.supported()) {
      std::cerr << "SKIPPED: POINTWISE_ISA=" << wanted << ", which this CPU does not support\n";
      return POINTWISE_SKIPPED;
    }
  pointwise::neighbour.ignore(true);  // so that teams have the requested size, even on a busy machine
  std::cout << "isa " << pointwise::selected_isa().name << "\n";
  return RUN_ALL_TESTS();
}
