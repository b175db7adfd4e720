// A small model for every operator of the registry: what the damage test and the fuzzer start from.
#pragma once
#include <string>
#include <vector>

#include "support/edge_writer.h"

namespace edgec::test {

struct OpModel {
  std::string name;  // of the operator, with a suffix where it has several models
  EdgeBytes file;
};

// Operators that follow the common patterns are found by trying; the others are listed in op_models.cc. An
// operator without a model that loads and prepares is missing here; op_models_test says which.
std::vector<OpModel> op_models();

}  // namespace edgec::test
