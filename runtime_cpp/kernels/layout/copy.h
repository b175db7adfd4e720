// Moving bytes without looking at them: what every layout operator is made of.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/op.h"
#include "core/thread_pool.h"

namespace edgec {

// memcpy spread over the pool; nothing when source and destination are the same address.
void copy_bytes(ThreadPool& pool, void* destination, const void* source, size_t bytes);

// `prepare` of every operator whose output has the bytes of input 0 in the same order (kViewOfInput0).
Status prepare_view(PrepareContext& ctx);

// A dense copy of `source`, whose rows may lie `pitch` apart.
void copy_rows(ThreadPool& pool, const TensorView& destination, const TensorView& source);

}  // namespace edgec
