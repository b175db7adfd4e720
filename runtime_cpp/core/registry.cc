#include <algorithm>
#include <climits>

#include "core/op.h"

namespace edgec {

#define EDGEC_OP_FILE(stem) void register_##stem(Registry& registry);
#include "op_list.inc"
#undef EDGEC_OP_FILE

struct RegistryFiller {
  static Registry* make() {
    auto* registry = new Registry();
#define EDGEC_OP_FILE(stem) register_##stem(*registry);
#include "op_list.inc"
#undef EDGEC_OP_FILE
    std::sort(registry->ops_.begin(), registry->ops_.end(),
              [](const auto& a, const auto& b) { return a->name < b->name; });
    return registry;
  }
};

const Registry& Registry::instance() {
  // Never destroyed: sessions may outlive static destructors.
  static const Registry* registry = RegistryFiller::make();
  return *registry;
}

OpBuilder Registry::add(const char* name) {
  ops_.push_back(std::make_unique<OpDef>());
  ops_.back()->name = name;
  return OpBuilder(*ops_.back());
}

const OpDef* Registry::find(const std::string& name) const {
  auto it = std::lower_bound(ops_.begin(), ops_.end(), name,
                             [](const auto& op, const std::string& n) { return op->name < n; });
  return it != ops_.end() && (*it)->name == name ? it->get() : nullptr;
}

int OpDef::min_inputs() const {
  int n = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    // A sub-graph may capture nothing; Concat of nothing means nothing.
    const bool may_be_empty = inputs[i].variadic && (flags & kControlFlow);
    if (!inputs[i].optional && !may_be_empty) n = static_cast<int>(i) + 1;
  }
  return n;
}

int OpDef::max_inputs() const {
  return !inputs.empty() && inputs.back().variadic ? INT_MAX : static_cast<int>(inputs.size());
}

const AttrSpec* OpDef::find_attr(const std::string& attr_name) const {
  for (const AttrSpec& spec : attrs)
    if (spec.name == attr_name) return &spec;
  return nullptr;
}

OpBuilder& OpBuilder::attr(const char* name, AttrValue default_value, const char* doc, const char* choices) {
  def_.attrs.push_back({name, std::move(default_value), false, choices, doc});
  return *this;
}

OpBuilder& OpBuilder::required(const char* name, AttrType type, const char* doc, const char* choices) {
  AttrValue value;
  value.type = type;
  def_.attrs.push_back({name, std::move(value), true, choices, doc});
  return *this;
}

OpBuilder& OpBuilder::port(std::vector<PortSpec>& ports, const char* name, const char* doc, bool optional,
                           bool variadic) {
  ports.push_back({name, optional, variadic, doc});
  return *this;
}

}  // namespace edgec
