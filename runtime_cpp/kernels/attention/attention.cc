#include "kernels/attention/attention.h"

#define EDGEC_FAMILY_TYPE AttentionKernels
#define EDGEC_FAMILY_TABLE kAttention
#define EDGEC_FAMILY_ISAS "attention_isas.inc"
#define EDGEC_FAMILY_FIND attention_kernels
#include "kernels/family_table.inc"
