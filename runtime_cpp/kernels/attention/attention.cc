#include "kernels/attention/attention.h"

namespace edgec {

#define EDGEC_ISA_ROW(name, parent, cpu_test) \
  namespace name {                            \
  extern const AttentionKernels kAttention;   \
  }
#include "isa_list.inc"
#undef EDGEC_ISA_ROW

const AttentionKernels& attention_kernels(Isa isa) {
  static const AttentionKernels* const tables[kIsaCount] = {
#define EDGEC_ISA_ROW(name, parent, cpu_test) &name::kAttention,
#include "isa_list.inc"
#undef EDGEC_ISA_ROW
  };
  return *find_kernels(tables, isa);
}

}  // namespace edgec
