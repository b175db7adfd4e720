// Uniqueness of names in linear time for honest files and n log n for hostile ones.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace edgec {

// Eight bytes per multiplication; good enough to spread names, not meant to resist an attacker.
inline uint64_t name_hash(const std::string& name) {
  uint64_t hash = name.size() * 0x9E3779B97F4A7C15ull;
  size_t i = 0;
  for (; i + 8 <= name.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, name.data() + i, 8);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93ull;
    hash ^= hash >> 32;
  }
  uint64_t tail = 0;
  std::memcpy(&tail, name.data() + i, name.size() - i);
  hash = (hash ^ tail) * 0xD6E8FEB86659FD93ull;
  return hash ^ (hash >> 29);
}

// The name of an item that an earlier one has too, or null. Items have a member `name`.
template <class Item>
const std::string* find_duplicate_name(const std::vector<Item>& items) {
  // Names chosen to collide would make probing quadratic; past this many steps sorting takes over.
  constexpr int kMaxProbes = 64;
  size_t slots = 16;
  while (slots < items.size() * 2) slots *= 2;
  std::vector<const std::string*> table(slots);
  bool crowded = false;
  for (const Item& item : items) {
    size_t slot = static_cast<size_t>(name_hash(item.name)) & (slots - 1);
    int probes = 0;
    for (; table[slot] != nullptr && probes < kMaxProbes; ++probes, slot = (slot + 1) & (slots - 1)) {
      if (*table[slot] == item.name) return &item.name;
    }
    if (probes == kMaxProbes) {
      crowded = true;
      break;
    }
    table[slot] = &item.name;
  }
  if (!crowded) return nullptr;
  std::vector<const std::string*> sorted;
  sorted.reserve(items.size());
  for (const Item& item : items) sorted.push_back(&item.name);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return *a < *b; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (*sorted[i - 1] == *sorted[i]) return sorted[i];
  }
  return nullptr;
}

}  // namespace edgec
