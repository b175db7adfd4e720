#include "kernels/quantized/quantized.h"

#define EDGEC_FAMILY_TYPE QuantizedKernels
#define EDGEC_FAMILY_TABLE kQuantized
#define EDGEC_FAMILY_ISAS "quantized_isas.inc"
#define EDGEC_FAMILY_FIND quantized_kernels
#include "kernels/family_table.inc"
