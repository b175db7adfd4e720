// The sections inside the frame. Each function validates everything docs/format.md says about its section
// and fills `model` only with values that passed.
#pragma once
#include "format/cursor.h"
#include "format/model.h"

namespace edgec {

// The weight section as mapped; graphs refer to it by offset.
struct WeightSection {
  const std::byte* data = nullptr;
  size_t size = 0;
};

Status read_graph_section(Cursor cursor, const WeightSection& weights, Model* model);
Status read_metadata_section(Cursor cursor, Model* model);
// `data` is the section's first byte, where the cursor stands.
Status read_golden_section(Cursor cursor, const std::byte* data, Model* model);

// dtype, rank and dimensions. `symbols` is how many symbolic dimensions may occur (0: none may).
Status read_type(Cursor& cursor, size_t symbols, DType* dtype, Shape* shape);

// Constants may share exactly the same bytes, and may not overlap otherwise. With `verify_gaps` the bytes
// between them have to be zero. `constants` is sorted on return.
Status check_weight_layout(const WeightSection& weights, bool verify_gaps, Model* model);

// Names of this build's version and of what wrote the model, for errors about things that are too new.
const char* runtime_version();
std::string written_by(const Model& model);  // " (written by edgec 0.2.0)" or ""

}  // namespace edgec
