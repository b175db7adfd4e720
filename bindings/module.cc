#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/cpu.h"
#include "errors.h"
#include "model.h"
#include "reflection.h"
#include "session.h"

namespace py = pybind11;

namespace {

py::dict cpu_info() {
  const edgec::CpuFeatures& f = edgec::cpu_features();
  py::dict features, caches, out;
#define EDGEC_FEATURE(name) features[#name] = f.name
  EDGEC_FEATURE(avx2);
  EDGEC_FEATURE(fma);
  EDGEC_FEATURE(f16c);
  EDGEC_FEATURE(avxvnni);
  EDGEC_FEATURE(avx512f);
  EDGEC_FEATURE(avx512bw);
  EDGEC_FEATURE(avx512dq);
  EDGEC_FEATURE(avx512vl);
  EDGEC_FEATURE(avx512vnni);
  EDGEC_FEATURE(avx512bf16);
  EDGEC_FEATURE(neon);
  EDGEC_FEATURE(fp16);
  EDGEC_FEATURE(dotprod);
  EDGEC_FEATURE(i8mm);
#undef EDGEC_FEATURE
  py::list isas;
  for (int i = 0; i < edgec::kIsaCount; ++i) {
    const auto isa = static_cast<edgec::Isa>(i);
    isas.append(py::make_tuple(edgec::isa_name(isa), edgec::isa_supported(isa)));
  }
  const edgec::CacheSizes& c = edgec::cache_sizes();
  caches["l1d"] = c.l1d;
  caches["l2"] = c.l2;
  caches["l3"] = c.l3;
  out["features"] = features;
  out["isas"] = isas;
  out["isa"] = edgec::isa_name(edgec::best_isa());
  out["usable_cpus"] = edgec::usable_cpus();
  out["caches"] = caches;
  return out;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() =
      "The native part of edgec: operator registry, models and sessions. Its interface is internal.";
  module.attr("__version__") = EDGEC_VERSION;
  edgec::python::register_errors(module);
  edgec::python::register_reflection(module);
  edgec::python::register_model(module);
  edgec::python::register_session(module);
  module.def("cpu_info", &cpu_info,
             "CPU features, instruction sets and which is used, usable CPUs, cache sizes.");
}
