// Structure-aware mutation: knows where the fields of an .edge file lie, damages those, and makes the
// checksums right again. Plain byte flips never get past the CRC.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgec::fuzz {

struct Span {
  size_t offset, width;
};

// Places of numbers and texts as far as the file can be followed; never reads out of bounds.
std::vector<Span> find_fields(const uint8_t* data, size_t size);

// Recomputes every checksum that the section table allows to compute, and the file size.
void seal(uint8_t* data, size_t size);

// Changes one to three fields, the same ones for the same seed, and seals. False when no field was found.
bool mutate_fields(uint8_t* data, size_t size, uint64_t seed);

}  // namespace edgec::fuzz
