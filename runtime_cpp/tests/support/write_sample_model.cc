// Writes the sample model of the tests to a file: write_sample_model PATH.
#include <cstdio>

#include "support/sample_models.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const edgec::test::EdgeBytes file = edgec::test::sample_model().write();
  std::FILE* out = std::fopen(argv[1], "wb");
  if (out == nullptr) return 1;
  const bool written = std::fwrite(file.data(), 1, file.size(), out) == file.size();
  return std::fclose(out) == 0 && written ? 0 : 1;
}
