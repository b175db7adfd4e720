// Aligned blocks and the offsets of one arena.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/op.h"

namespace edgec {

// A cache line on every CPU we run on and the width of an AVX-512 register.
inline constexpr size_t kAlignment = 64;
inline constexpr size_t align_up(size_t n) { return (n + kAlignment - 1) & ~(kAlignment - 1); }

// One zero-initialised-on-demand block; large ones come from the system as untouched pages.
class AlignedBlock {
 public:
  AlignedBlock() = default;
  ~AlignedBlock() { reset(); }
  AlignedBlock(AlignedBlock&& other) noexcept;
  AlignedBlock& operator=(AlignedBlock&& other) noexcept;
  // False when the system has not that much; the block is empty then. Zero bytes give a valid pointer.
  bool allocate(size_t bytes);
  void reset();
  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Grows by blocks, never moves what it gave out, stops at a limit.
class BlockAllocator {
 public:
  void* allocate(size_t bytes, size_t limit);  // limit 0 = none
  size_t used() const { return used_; }

 private:
  std::vector<AlignedBlock> blocks_;
  size_t free_ = 0;  // bytes left at the end of the last block
  size_t used_ = 0;
};

// Packed weights of a session, shared by its plans.
struct SharedPacked {
  BlockAllocator blocks;
  struct Entry {
    const void* source;
    std::string layout;
    void* data;
  };
  std::vector<Entry> entries;
};

// What one plan sees: its own tables and the session's weights, under one limit.
class PlanPacked final : public PackedMemory {
 public:
  PlanPacked(SharedPacked* shared, size_t limit) : shared_(shared), limit_(limit) {}
  void* allocate(size_t bytes) override;
  void* allocate_shared(const void* source, const std::string& layout, size_t bytes, bool* fresh) override;
  size_t used() const { return own_.used() + shared_->blocks.used(); }

 private:
  SharedPacked* shared_;
  BlockAllocator own_;
  size_t limit_;
};

// Something that needs `bytes` from step `first` to step `last`, both included.
struct ArenaItem {
  size_t bytes;
  int first, last;
  size_t offset = 0;  // result, a multiple of kAlignment
};

// Assigns offsets so that items alive at the same time do not overlap; returns the arena's size.
// Runs greedy best fit in three orders (size, duration, first use) and keeps the smallest result.
size_t plan_arena(std::vector<ArenaItem>* items);

// Largest sum of bytes alive at one step: no plan can be smaller.
size_t arena_lower_bound(const std::vector<ArenaItem>& items);

}  // namespace edgec
