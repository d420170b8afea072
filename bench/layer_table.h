// Layer tables: CSV with the header network,layer,n,cin,cout,h,w,stride,groups.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pointwise_bench {

struct TableRow {
  std::string network, layer;
  int64_t n, c_in, c_out, height, width, stride, groups;
};

// The rows of one table, or of every *.csv of a directory, in the order of their names. Throws std::runtime_error
// that names the file and the line.
std::vector<TableRow> read_layer_tables(const std::string& path);

}  // namespace pointwise_bench
