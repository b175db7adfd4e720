#include "core/memory.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define EDGEC_HAS_MMAP 1
#endif

namespace edgec {
namespace {

// glibc's own mmap threshold would do the same, but it grows with use; a mapping of our own is given
// back to the system at once.
constexpr size_t kMapFrom = 256 * 1024;

}  // namespace

AlignedBlock::AlignedBlock(AlignedBlock&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

AlignedBlock& AlignedBlock::operator=(AlignedBlock&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

bool AlignedBlock::allocate(size_t bytes) {
  reset();
  const size_t size = align_up(bytes == 0 ? 1 : bytes);
  if (size < bytes) return false;
#if defined(EDGEC_HAS_MMAP)
  if (size >= kMapFrom) {
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    data_ = static_cast<std::byte*>(p);
    size_ = size;
    return true;
  }
#endif
  data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, size));
  size_ = data_ ? size : 0;
  return data_ != nullptr;
}

void AlignedBlock::reset() {
  if (data_ == nullptr) return;
#if defined(EDGEC_HAS_MMAP)
  if (size_ >= kMapFrom) {
    munmap(data_, size_);
    data_ = nullptr;
    size_ = 0;
    return;
  }
#endif
  std::free(data_);
  data_ = nullptr;
  size_ = 0;
}

void* BlockAllocator::allocate(size_t bytes, size_t limit) {
  constexpr size_t kBlock = 64 * 1024;
  const size_t size = align_up(bytes == 0 ? 1 : bytes);
  if (size < bytes || (limit != 0 && used_ + size > limit)) return nullptr;
  if (size > free_) {
    AlignedBlock block;
    // A large request gets a block of its own and leaves the half-filled small one in use.
    const bool own = size > kBlock / 4;
    if (!block.allocate(own ? size : kBlock)) return nullptr;
    std::byte* data = block.data();
    used_ += size;
    if (own && !blocks_.empty()) {
      blocks_.insert(blocks_.end() - 1, std::move(block));
    } else {
      free_ = own ? 0 : block.size() - size;
      blocks_.push_back(std::move(block));
    }
    return data;
  }
  AlignedBlock& block = blocks_.back();
  std::byte* data = block.data() + (block.size() - free_);
  free_ -= size;
  used_ += size;
  return data;
}

void* PlanPacked::allocate(size_t bytes) {
  const size_t others = shared_->blocks.used();
  if (limit_ != 0 && others >= limit_) return nullptr;
  return own_.allocate(bytes, limit_ == 0 ? 0 : limit_ - others);
}

void* PlanPacked::allocate_shared(const void* source, const std::string& layout, size_t bytes, bool* fresh) {
  *fresh = false;
  for (const SharedPacked::Entry& entry : shared_->entries)
    if (entry.source == source && entry.layout == layout) return entry.data;
  if (limit_ != 0 && own_.used() >= limit_) return nullptr;
  void* data = shared_->blocks.allocate(bytes, limit_ == 0 ? 0 : limit_ - own_.used());
  if (data == nullptr) return nullptr;
  shared_->entries.push_back({source, layout, data});
  *fresh = true;
  return data;
}

namespace {

// Places items in the given order, each in the smallest gap between already placed items that are
// alive at the same time and that is large enough, else behind them.
size_t place(std::vector<ArenaItem>& items, const std::vector<size_t>& order) {
  std::vector<size_t> placed;  // sorted by offset
  size_t total = 0;
  for (size_t i : order) {
    ArenaItem& item = items[i];
    const size_t size = align_up(item.bytes);
    size_t end = 0, best_offset = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t k : placed) {
      const ArenaItem& other = items[k];
      if (other.last < item.first || other.first > item.last) continue;
      if (other.offset > end && other.offset - end >= size && other.offset - end < best_gap) {
        best_gap = other.offset - end;
        best_offset = end;
      }
      end = std::max(end, other.offset + align_up(other.bytes));
    }
    item.offset = best_offset != SIZE_MAX ? best_offset : end;
    total = std::max(total, item.offset + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](size_t a, size_t b) { return items[a].offset < items[b].offset; }),
                  i);
  }
  return total;
}

}  // namespace

size_t plan_arena(std::vector<ArenaItem>* items) {
  std::vector<size_t> order(items->size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto by = [&](auto key) {
    std::vector<size_t> sorted = order;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](size_t a, size_t b) { return key((*items)[a]) > key((*items)[b]); });
    return sorted;
  };
  const std::vector<size_t> orders[] = {
      by([](const ArenaItem& i) { return i.bytes; }),
      by([](const ArenaItem& i) { return static_cast<size_t>(i.last - i.first); }),
      by([](const ArenaItem& i) { return static_cast<size_t>(INT32_MAX - i.first); }),
  };
  size_t best = SIZE_MAX;
  std::vector<ArenaItem> best_items;
  for (const auto& o : orders) {
    const size_t total = place(*items, o);
    if (total >= best) continue;
    best = total;
    best_items = *items;
  }
  *items = std::move(best_items);
  return items->empty() ? 0 : best;
}

size_t arena_lower_bound(const std::vector<ArenaItem>& items) {
  std::vector<std::pair<int, int64_t>> events;
  for (const ArenaItem& item : items) {
    const auto bytes = static_cast<int64_t>(align_up(item.bytes));
    events.emplace_back(item.first, bytes);
    events.emplace_back(item.last + 1, -bytes);
  }
  // At one step the ends come first: an item that ended at step s - 1 is gone at s.
  std::sort(events.begin(), events.end());
  int64_t live = 0, peak = 0;
  for (const auto& event : events) {
    live += event.second;
    peak = std::max(peak, live);
  }
  return static_cast<size_t>(peak);
}

}  // namespace edgec
