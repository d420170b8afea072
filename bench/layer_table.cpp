#include "layer_table.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace pointwise_bench {
namespace {

std::string without_return(std::string line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return line;
}

void read_table(const std::filesystem::path& path, std::vector<TableRow>* rows) {
  constexpr char header[] = "network,layer,n,cin,cout,h,w,stride,groups";
  std::ifstream file(path);
  std::string line;
  int number = 0;
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error(path.string() + ":" + std::to_string(number) + ": " + what);
  };
  while (std::getline(file, line)) {
    ++number;
    line = without_return(line);
    if (number == 1) {
      if (line != header) fail("expected the header " + std::string(header) + ", got " + line);
      continue;
    }
    if (line.empty()) continue;
    std::vector<std::string> cells;
    std::istringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
    if (cells.size() != 9) fail("expected 9 columns, got " + std::to_string(cells.size()));
    int64_t value[7];
    for (int i = 0; i < 7; ++i) {
      const std::string& cell = cells[2 + i];
      size_t used = 0;
      try {
        value[i] = std::stoll(cell, &used);
      } catch (const std::exception&) {
        used = std::string::npos;
      }
      if (used != cell.size() || value[i] < 1) fail("expected a positive integer, got \"" + cell + "\"");
    }
    rows->push_back({cells[0], cells[1], value[0], value[1], value[2], value[3], value[4], value[5], value[6]});
  }
  if (number == 0) fail("cannot be read, or is empty");
}

}  // namespace

std::vector<TableRow> read_layer_tables(const std::string& path) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(path)) {
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.path().extension() == ".csv") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (files.empty()) throw std::runtime_error(path + ": no layer tables (*.csv)");
  } else {
    files.push_back(path);
  }
  std::vector<TableRow> rows;
  for (const auto& file : files) read_table(file, &rows);
  return rows;
}

}  // namespace pointwise_bench
