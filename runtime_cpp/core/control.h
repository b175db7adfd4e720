// What a control-flow operator (ops/if.cc, loop.cc, scan.cc) sees while it runs.
#pragma once
#include <vector>

#include "core/op.h"
#include "core/session.h"

namespace edgec {

class ControlContext : public NodeContext {
 public:
  // Dense views of this node's inputs; null data where an optional input is absent.
  virtual TensorView input_view(int i) const = 0;
  // Runs sub-graph `graph` (an attribute of type kGraph) on dense inputs; results are copies.
  virtual Status run_graph(int64_t graph, const std::vector<TensorView>& inputs,
                           std::vector<HostTensor>* outputs) = 0;
  virtual void set_output(int i, HostTensor value) = 0;
  virtual bool cancelled() const = 0;
  virtual size_t max_memory()
      const = 0;  // of the session, for values that grow with iterations; 0 = no limit
};

// A dense view of a host tensor; the tensor keeps the bytes.
inline TensorView view_of(const HostTensor& tensor) {
  return dense_view(tensor.type, const_cast<std::byte*>(tensor.data.data()));
}

}  // namespace edgec
