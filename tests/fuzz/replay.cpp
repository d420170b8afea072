// Runs a fuzz target on inputs from text files, without a fuzzer. Each line is one input, in hexadecimal. The character
// # begins a comment.
//
//     replay inputs.hex ...              runs the inputs
//     replay --unpack DIR inputs.hex     writes each input to a file in DIR, as libFuzzer reads them
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// Reads the bytes of a line. Returns false if the line has no bytes. Exits if the line is malformed.
bool parse(const std::string& line, std::vector<uint8_t>* bytes) {
  const std::string digits = line.substr(0, line.find_first_of("# \r"));
  bytes->clear();
  if (digits.size() % 2 != 0 || digits.find_first_not_of("0123456789abcdef") != std::string::npos) {
    std::fprintf(stderr, "expected pairs of hexadecimal digits, got: %s\n", line.c_str());
    std::exit(2);
  }
  for (size_t i = 0; i < digits.size(); i += 2)
    bytes->push_back(static_cast<uint8_t>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return !bytes->empty();
}

}  // namespace

int main(int count, char** words) {
  const bool unpacks = count > 3 && std::string(words[1]) == "--unpack";
  int inputs = 0;
  for (int i = unpacks ? 3 : 1; i < count; ++i) {
    std::ifstream file(words[i]);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", words[i]);
      return 2;
    }
    std::string line;
    std::vector<uint8_t> bytes;
    for (int number = 1; std::getline(file, line); ++number) {
      if (!parse(line, &bytes)) continue;
      ++inputs;
      if (unpacks) {
        std::ofstream out(std::string(words[2]) + "/" + std::to_string(inputs), std::ios::binary);
        out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        continue;
      }
      std::fprintf(stderr, "%s:%d\n", words[i], number);  // comes first, so that the last line names a failed input
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
  }
  std::printf("%d inputs\n", inputs);
  return inputs > 0 ? 0 : 2;
}
