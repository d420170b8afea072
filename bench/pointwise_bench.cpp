// Runs microbenchmarks of kernels, of layers and of gradients. Each benchmark checks its result before the timing.
//
//     pointwise_bench [--layers=DIR|FILE.csv] [--threads=N] [Google Benchmark's flags]
//     pointwise_bench --benchmark_filter=layer/resnet50
//
// POINTWISE_BENCH_LAYERS and POINTWISE_BENCH_THREADS do the same as the flags. POINTWISE_ISA selects the instruction
// set of the layers. The counter peak% is the speed in percent of the FMA peak, which is measured in the same run.
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>

#include "bench.h"
#include "pointwise/pointwise.h"

namespace {

bool take_flag(const char* argument, const char* name, std::string* value) {
  const size_t length = std::strlen(name);
  if (std::strncmp(argument, name, length) != 0 || argument[length] != '=') return false;
  *value = argument + length + 1;
  return true;
}

pointwise_bench::Settings take_settings(int* argc, char** argv) {
  pointwise_bench::Settings settings;
  std::string threads = "1";
  if (const char* text = std::getenv("POINTWISE_BENCH_LAYERS")) settings.layers = text;
  if (const char* text = std::getenv("POINTWISE_BENCH_THREADS")) threads = text;
  int kept = 1;
  for (int i = 1; i < *argc; ++i)
    if (!take_flag(argv[i], "--layers", &settings.layers) && !take_flag(argv[i], "--threads", &threads))
      argv[kept++] = argv[i];
  *argc = kept;
  argv[kept] = nullptr;
  settings.threads = std::atoi(threads.c_str());
  if (settings.threads < 1) throw std::runtime_error("threads must be at least 1, got " + threads);
  return settings;
}

}  // namespace

int main(int argc, char** argv) try {
  const pointwise_bench::Settings settings = take_settings(&argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("pointwise", pointwise::version());
  benchmark::AddCustomContext("isa of the layers", pointwise::isa());
  benchmark::AddCustomContext("threads of the layers", std::to_string(settings.threads));
  pointwise_bench::register_kernels();
  pointwise_bench::register_layers(settings);
  pointwise_bench::register_gradients(settings);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
} catch (const std::exception& error) {
  std::cerr << "pointwise_bench: " << error.what() << "\n";
  return 2;
}
