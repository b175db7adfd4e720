// Attributes of sliding windows, for convolutions and pools.
#pragma once
#include "core/op.h"

namespace edgec {

// `count` values of an attribute, each within [minimum, 2^30] so that window arithmetic cannot overflow.
inline Status window_attribute(const NodeContext& ctx, const char* name, size_t count, int64_t minimum,
                               const int64_t** values) {
  const std::vector<int64_t>& v = ctx.attr_ints(name);
  if (v.size() != count)
    return ctx.fail(StatusCode::kInvalidArgument, "attribute '%s' has %zu values, expected %zu", name,
                    v.size(), count);
  for (int64_t x : v)
    if (x < minimum || x > (int64_t{1} << 30))
      return ctx.fail(StatusCode::kInvalidArgument, "attribute '%s' holds %lld, expected %lld to 2^30", name,
                      static_cast<long long>(x), static_cast<long long>(minimum));
  *values = v.data();
  return ok_status();
}

}  // namespace edgec
