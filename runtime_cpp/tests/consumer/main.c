#include <edgec/edgec.h>
#include <stdio.h>

int main(void) {
  edgec_model *model = NULL;
  if (edgec_model_open("/nowhere.edge", NULL, &model) != EDGEC_E_IO) return 1;
  printf("edgec %s, %s: %s\n", edgec_version(), edgec_isa_name(), edgec_last_error());
  return edgec_abi_version() >= EDGEC_ABI_VERSION ? 0 : 1;
}
