#include "kernels/pool/pool.h"

#define EDGEC_FAMILY_TYPE PoolKernels
#define EDGEC_FAMILY_TABLE kPool
#define EDGEC_FAMILY_ISAS "pool_isas.inc"
#define EDGEC_FAMILY_FIND pool_kernels
#include "kernels/family_table.inc"
