# The one list of instruction sets. Row:
# name ; parent ; architecture ; compiler flags ; CPU test ; emulator ; families ; stored i8
#   parent    whose kernels stand in where a family has none of its own
#   CPU test  C++ expression over CpuFeatures f (runtime_cpp/core/cpu.h)
#   families  "*", or the comma-separated kernel families that have a table of their own here; "-family" has none
#   stored i8 how i8 activations live between operators: as i8, or as u8 = i8 + 128 where the dot instruction wants u8
#   emulator  how the tests run this row on a machine without it ("-" = natively or not at all)
# Order matters: the last supported row is the one that runs by default.
set(EDGEC_ISA_ROWS
  "scalar|scalar|any||true|-|*|i8"
  "avx2|scalar|x86_64|-mavx2 -mfma -mf16c|f.avx2 && f.fma && f.f16c|-|*|u8"
  "avxvnni|avx2|x86_64|-mavx2 -mfma -mf16c -mavxvnni|f.avx2 && f.fma && f.f16c && f.avxvnni|-|quantized_dot,quantized_depthwise|u8"
  "avx512|avx2|x86_64|-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512|f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl|-|*,-quantized_dot,-quantized_depthwise|u8"
  "avx512vnni|avx512|x86_64|-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mprefer-vector-width=512|f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl && f.avx512vnni|-|quantized_dot,quantized_depthwise|u8"
)

# -ffp-contract=off: one rounding rule on every CPU; kernels ask for fma by name where they want it.
set(EDGEC_KERNEL_FLAGS -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math)
# Kernels are leaves that throw nothing; unwind tables for their many instances would be 45 KB of the library.
if(NOT EDGEC_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  list(APPEND EDGEC_KERNEL_FLAGS -fno-exceptions -fno-unwind-tables -fno-asynchronous-unwind-tables)
endif()
if(EDGEC_SANITIZE)
  list(TRANSFORM EDGEC_KERNEL_FLAGS REPLACE "^-O3$" "-O1")  # instrumented -O3 takes nine times as long to compile
endif()

string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" edgec_processor)
if(edgec_processor MATCHES "^(x86_64|amd64)$")
  set(EDGEC_ARCH x86_64)
elseif(edgec_processor MATCHES "^(aarch64|arm64)$")
  set(EDGEC_ARCH aarch64)
elseif(edgec_processor MATCHES "^arm")
  set(EDGEC_ARCH armv7)
else()
  set(EDGEC_ARCH other)
endif()

set(EDGEC_ISAS)
set(edgec_isa_list "")
foreach(row IN LISTS EDGEC_ISA_ROWS)
  string(REPLACE "|" ";" row "${row}")
  list(GET row 0 name)
  list(GET row 1 parent)
  list(GET row 2 arch)
  list(GET row 3 flags)
  list(GET row 4 test)
  list(GET row 6 families)
  list(GET row 7 stored)
  if(arch STREQUAL "any" OR arch STREQUAL EDGEC_ARCH)
    list(APPEND EDGEC_ISAS ${name})
    separate_arguments(EDGEC_ISA_FLAGS_${name} UNIX_COMMAND "${flags}")
    string(REPLACE "," ";" EDGEC_ISA_FAMILIES_${name} "${families}")
    string(APPEND edgec_isa_list "EDGEC_ISA_ROW(${name}, ${parent}, (${test}), ${stored})\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/isa_list.inc CONTENT "${edgec_isa_list}" @ONLY)

# Families that pay for less than -O3. Element-wise loops are unrolled by hand or wait for memory: -Os costs 0 to 5 % (Erf on
# AVX-512 18 %) and saves 120 KB of 290. Winograd: no difference in time, 12 KB. Layout, activation and reduce need
# -O3: up to 8, 1.2 and 1.04 times slower without.
set(EDGEC_FAMILY_OPTIMIZATION_elementwise -Os)
set(EDGEC_FAMILY_OPTIMIZATION_winograd -O2)
set(EDGEC_FAMILY_OPTIMIZATION_quantized -Os)  # 42 KB of 63; its loops are written with vectors

# edgec_kernel_family(target family): compiles kernels/<family>/<family>-inl.h once per ISA that lists the family, each in
# a translation unit of its own with that ISA's flags, so that no instruction leaks into common code. Which ISAs these
# are, the family's .cc reads from <family>_isas.inc (kernels/family_table.inc).
function(edgec_kernel_family target family)
  set(rows "")
  set(flags ${EDGEC_KERNEL_FLAGS})
  if(DEFINED EDGEC_FAMILY_OPTIMIZATION_${family})
    list(TRANSFORM flags REPLACE "^-O3$" ${EDGEC_FAMILY_OPTIMIZATION_${family}})
  endif()
  foreach(isa IN LISTS EDGEC_ISAS)
    if("-${family}" IN_LIST EDGEC_ISA_FAMILIES_${isa} OR
       NOT ("*" IN_LIST EDGEC_ISA_FAMILIES_${isa} OR family IN_LIST EDGEC_ISA_FAMILIES_${isa}))
      continue()
    endif()
    string(APPEND rows "EDGEC_ISA_ROW(${isa})\n")
    set(unit ${CMAKE_BINARY_DIR}/generated/${family}_${isa}.cc)
    file(CONFIGURE OUTPUT ${unit} CONTENT
"#define EDGEC_ISA_NS ${isa}
#define EDGEC_ISA_IS_${isa} 1
#include \"kernels/${family}/${family}-inl.h\"
" @ONLY)
    target_sources(${target} PRIVATE ${unit})
    set_source_files_properties(${unit} TARGET_DIRECTORY ${target} PROPERTIES
      COMPILE_OPTIONS "${flags};${EDGEC_ISA_FLAGS_${isa}}")
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/${family}_isas.inc CONTENT "${rows}" @ONLY)
endfunction()
