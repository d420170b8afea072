// Reads layer tables: CSV files with the header network,layer,n,cin,cout,h,w,stride,groups.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pointwise_bench {

struct TableRow {
  std::string network, layer;
  int64_t n, c_in, c_out, height, width, stride, groups;
};

// Returns the rows of one table, or of every *.csv in a directory in the order of file names. If a table has an error,
// throws std::runtime_error with the file and line of the error.
std::vector<TableRow> read_layer_tables(const std::string& path);

}  // namespace pointwise_bench
