// CRC-32 as zlib computes it (polynomial 0xEDB88320, reflected, initial and final complement).
#pragma once
#include <cstddef>
#include <cstdint>

namespace edgec {

// crc of the bytes before `data` (0 for none) continued over data[0, size).
uint32_t crc32(uint32_t crc, const void* data, size_t size);

}  // namespace edgec
