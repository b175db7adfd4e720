# The one list of instruction sets. Row: name ; parent ; architecture ; compiler flags ; CPU test ; emulator
#   parent    whose kernels stand in where a family has none of its own
#   CPU test  C++ expression over CpuFeatures f (runtime_cpp/core/cpu.h)
#   emulator  how the tests run this row on a machine without it ("-" = natively or not at all)
# Order matters: the last supported row is the one that runs by default.
set(EDGEC_ISA_ROWS
  "scalar|scalar|any||true|-"
  "avx2|scalar|x86_64|-mavx2 -mfma -mf16c|f.avx2 && f.fma && f.f16c|-"
  "avx512|avx2|x86_64|-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512|f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl|-"
)

# -ffp-contract=off: one rounding rule on every CPU; kernels ask for fma by name where they want it.
set(EDGEC_KERNEL_FLAGS -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math)
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
  if(arch STREQUAL "any" OR arch STREQUAL EDGEC_ARCH)
    list(APPEND EDGEC_ISAS ${name})
    separate_arguments(EDGEC_ISA_FLAGS_${name} UNIX_COMMAND "${flags}")
    string(APPEND edgec_isa_list "EDGEC_ISA_ROW(${name}, ${parent}, (${test}))\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/isa_list.inc CONTENT "${edgec_isa_list}" @ONLY)

# edgec_kernel_family(target family): compiles kernels/<family>/<family>-inl.h once per ISA, each in a
# translation unit of its own with that ISA's flags, so that no instruction leaks into common code.
function(edgec_kernel_family target family)
  foreach(isa IN LISTS EDGEC_ISAS)
    set(unit ${CMAKE_BINARY_DIR}/generated/${family}_${isa}.cc)
    file(CONFIGURE OUTPUT ${unit} CONTENT
"#define EDGEC_ISA_NS ${isa}
#define EDGEC_ISA_IS_${isa} 1
#include \"kernels/${family}/${family}-inl.h\"
" @ONLY)
    target_sources(${target} PRIVATE ${unit})
    set_source_files_properties(${unit} TARGET_DIRECTORY ${target} PROPERTIES
      COMPILE_OPTIONS "${EDGEC_KERNEL_FLAGS};${EDGEC_ISA_FLAGS_${isa}}")
  endforeach()
endfunction()
