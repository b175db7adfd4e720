#include "kernels/pool/pool.h"

namespace edgec {

#define EDGEC_ISA_ROW(name, parent, cpu_test) \
  namespace name {                            \
  extern const PoolKernels kPool;             \
  }
#include "isa_list.inc"
#undef EDGEC_ISA_ROW

const PoolKernels& pool_kernels(Isa isa) {
  static const PoolKernels* const kTables[kIsaCount] = {
#define EDGEC_ISA_ROW(name, parent, cpu_test) &name::kPool,
#include "isa_list.inc"
#undef EDGEC_ISA_ROW
  };
  return *find_kernels(kTables, isa);
}

}  // namespace edgec
