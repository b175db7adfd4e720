// write_seeds FOLDER: the seed corpus of fuzz_model.
#include <cstdio>

#include "support/op_models.h"
#include "support/sample_models.h"

namespace {

bool write(const std::string& path, const edgec::test::EdgeBytes& file) {
  std::FILE* out = std::fopen(path.c_str(), "wb");
  if (out == nullptr) return false;
  const bool written = std::fwrite(file.data(), 1, file.size(), out) == file.size();
  return std::fclose(out) == 0 && written;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  bool ok = write(folder + "/seed_sample.edge", edgec::test::sample_model().write());
  for (const edgec::test::OpModel& model : edgec::test::op_models()) {
    std::string name = model.name;
    for (char& c : name) c = c == ' ' ? '_' : c;
    ok = write(folder + "/seed_" + name + ".edge", model.file) && ok;
  }
  return ok ? 0 : 1;
}
