#include "support/edge_writer.h"

#include "format/crc32.h"

namespace edgec::test {
namespace {

constexpr size_t kHeader = 64, kEntry = 32;

class Out {
 public:
  std::vector<uint8_t> bytes;
  std::vector<EdgeBytes::Field> fields;

  template <class T>
  void put(const std::string& path, T value) {
    fields.push_back({path, bytes.size(), sizeof(T)});
    uint8_t raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));  // tests run on little-endian machines
    bytes.insert(bytes.end(), raw, raw + sizeof(T));
  }
  void text(const std::string& path, const std::string& value) {
    put<uint32_t>(path + ".length", static_cast<uint32_t>(value.size()));
    if (!value.empty()) fields.push_back({path, bytes.size(), value.size()});
    bytes.insert(bytes.end(), value.begin(), value.end());
  }
  void indices(const std::string& path, const std::vector<uint32_t>& values) {
    put<uint32_t>(path + ".count", static_cast<uint32_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) put<uint32_t>(path + std::to_string(i), values[i]);
  }
};

void put_tensor(Out& out, const std::string& path, const WriterTensor& t) {
  out.text(path + ".name", t.name);
  out.put<uint8_t>(path + ".kind", t.kind);
  out.put<uint8_t>(path + ".flags", static_cast<uint8_t>((t.quantized ? 1 : 0) | (t.any_shape ? 2 : 0)));
  if (t.kind != 0) {
    out.put<uint8_t>(path + ".dtype", static_cast<uint8_t>(t.dtype));
    out.put<uint8_t>(path + ".rank", static_cast<uint8_t>(t.dims.size()));
    for (size_t i = 0; i < t.dims.size(); ++i) out.put<int64_t>(path + ".dim" + std::to_string(i), t.dims[i]);
  }
  if (t.kind == 1) {
    out.put<uint64_t>(path + ".offset", t.weight_offset);
    out.put<uint64_t>(path + ".bytes", t.weight_bytes);
  }
  if (t.quantized) {
    out.put<int32_t>(path + ".axis", t.axis);
    out.put<uint32_t>(path + ".scales", static_cast<uint32_t>(t.scale.size()));
    for (size_t i = 0; i < t.scale.size(); ++i)
      out.put<float>(path + ".scale" + std::to_string(i), t.scale[i]);
    for (size_t i = 0; i < t.zero_point.size(); ++i) {
      out.put<int32_t>(path + ".zero_point" + std::to_string(i), t.zero_point[i]);
    }
  }
}

void put_attribute(Out& out, const std::string& path, const std::string& name, const AttrValue& value) {
  out.text(path + ".name", name);
  out.put<uint8_t>(path + ".type", static_cast<uint8_t>(value.type));
  switch (value.type) {
    case AttrType::kInt:
      out.put<int64_t>(path + ".int", value.i);
      break;
    case AttrType::kFloat:
      out.put<double>(path + ".float", value.f);
      break;
    case AttrType::kString:
      out.text(path + ".string", value.s);
      break;
    case AttrType::kInts:
      out.put<uint32_t>(path + ".count", static_cast<uint32_t>(value.ints.size()));
      for (size_t i = 0; i < value.ints.size(); ++i)
        out.put<int64_t>(path + ".int" + std::to_string(i), value.ints[i]);
      break;
    case AttrType::kFloats:
      out.put<uint32_t>(path + ".count", static_cast<uint32_t>(value.floats.size()));
      for (size_t i = 0; i < value.floats.size(); ++i) {
        out.put<double>(path + ".float" + std::to_string(i), value.floats[i]);
      }
      break;
    case AttrType::kGraph:
      out.put<uint32_t>(path + ".graph", static_cast<uint32_t>(value.i));
      break;
  }
}

void put_graph(Out& out, const std::string& path, const WriterGraph& graph) {
  out.text(path + ".name", graph.name);
  out.put<uint32_t>(path + ".tensors", static_cast<uint32_t>(graph.tensors.size()));
  for (size_t i = 0; i < graph.tensors.size(); ++i)
    put_tensor(out, path + ".tensor" + std::to_string(i), graph.tensors[i]);
  out.indices(path + ".input", graph.inputs);
  out.indices(path + ".output", graph.outputs);
  out.put<uint32_t>(path + ".nodes", static_cast<uint32_t>(graph.nodes.size()));
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const WriterNode& node = graph.nodes[i];
    const std::string at = path + ".node" + std::to_string(i);
    out.put<uint32_t>(at + ".op", node.op);
    out.text(at + ".name", node.name);
    out.indices(at + ".input", node.inputs);
    out.indices(at + ".output", node.outputs);
    out.put<uint32_t>(at + ".attrs", static_cast<uint32_t>(node.attrs.size()));
    for (size_t k = 0; k < node.attrs.size(); ++k) {
      put_attribute(out, at + ".attr" + std::to_string(k), node.attrs[k].first, node.attrs[k].second);
    }
  }
}

Out graph_section(const EdgeWriter& w) {
  Out out;
  out.put<uint32_t>("operators", static_cast<uint32_t>(w.operators.size()));
  for (size_t i = 0; i < w.operators.size(); ++i) {
    const std::string path = "operator" + std::to_string(i);
    out.text(path + ".name", w.operators[i].first);
    out.put<uint32_t>(path + ".version", w.operators[i].second);
  }
  out.put<uint32_t>("symbols", static_cast<uint32_t>(w.symbols.size()));
  for (size_t i = 0; i < w.symbols.size(); ++i) {
    const std::string path = "symbol" + std::to_string(i);
    out.text(path + ".name", w.symbols[i].name);
    out.put<int64_t>(path + ".min", w.symbols[i].min);
    out.put<int64_t>(path + ".max", w.symbols[i].max);
  }
  out.put<uint32_t>("graphs", static_cast<uint32_t>(w.graphs.size()));
  for (size_t i = 0; i < w.graphs.size(); ++i) put_graph(out, "graph" + std::to_string(i), w.graphs[i]);
  return out;
}

Out metadata_section(const EdgeWriter& w) {
  Out out;
  out.put<uint32_t>("meta.count", static_cast<uint32_t>(w.metadata.size()));
  for (size_t i = 0; i < w.metadata.size(); ++i) {
    out.text("meta" + std::to_string(i) + ".key", w.metadata[i].first);
    out.text("meta" + std::to_string(i) + ".value", w.metadata[i].second);
  }
  return out;
}

}  // namespace

const EdgeBytes::Field* EdgeBytes::find(const std::string& path) const {
  for (const Field& field : fields) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

bool EdgeBytes::set(const std::string& path, uint64_t value) {
  const Field* field = find(path);
  if (field == nullptr) return false;
  std::memcpy(bytes.data() + field->offset, &value, field->width < 8 ? field->width : 8);
  return true;
}

uint64_t EdgeBytes::get(const std::string& path) const {
  const Field* field = find(path);
  uint64_t value = 0;
  if (field) std::memcpy(&value, bytes.data() + field->offset, field->width < 8 ? field->width : 8);
  return value;
}

void EdgeBytes::seal() {
  const size_t count = static_cast<size_t>(get("header.sections"));
  if (count > 64 || bytes.size() < kHeader + count * kEntry) return;
  for (size_t i = 0; i < count; ++i) {
    uint8_t* entry = bytes.data() + kHeader + i * kEntry;
    uint64_t offset, size;
    std::memcpy(&offset, entry + 8, 8);
    std::memcpy(&size, entry + 16, 8);
    if (offset > bytes.size() || size > bytes.size() - offset) continue;
    const uint32_t crc = crc32(0, bytes.data() + offset, size);
    std::memcpy(entry + 4, &crc, 4);
  }
  std::memset(bytes.data() + 20, 0, 4);
  const uint32_t crc = crc32(0, bytes.data(), kHeader + count * kEntry);
  std::memcpy(bytes.data() + 20, &crc, 4);
}

uint32_t EdgeWriter::input(const std::string& name, DType dtype, std::vector<int64_t> dims) {
  WriterGraph& graph = graphs[0];
  WriterTensor tensor;
  tensor.name = name;
  tensor.kind = 2;
  tensor.dtype = dtype;
  tensor.dims = std::move(dims);
  graph.tensors.push_back(std::move(tensor));
  graph.inputs.push_back(static_cast<uint32_t>(graph.tensors.size() - 1));
  return graph.inputs.back();
}

uint32_t EdgeWriter::constant(const std::string& name, DType dtype, std::vector<int64_t> dims,
                              const void* data) {
  WriterTensor tensor;
  tensor.name = name;
  tensor.kind = 1;
  tensor.dtype = dtype;
  tensor.weight_bytes = dtype_size(dtype);
  for (int64_t d : dims) tensor.weight_bytes *= static_cast<uint64_t>(d);
  tensor.dims = std::move(dims);
  weights.resize((weights.size() + 63) / 64 * 64);
  tensor.weight_offset = weights.size();
  const uint8_t* bytes = static_cast<const uint8_t*>(data);
  weights.insert(weights.end(), bytes, bytes + tensor.weight_bytes);
  graphs[0].tensors.push_back(std::move(tensor));
  return static_cast<uint32_t>(graphs[0].tensors.size() - 1);
}

uint32_t EdgeWriter::constant(const std::string& name, std::vector<int64_t> dims,
                              const std::vector<float>& values) {
  return constant(name, DType::kF32, std::move(dims), values.data());
}

uint32_t EdgeWriter::constant(const std::string& name, const std::vector<int64_t>& values) {
  return constant(name, DType::kI64, {static_cast<int64_t>(values.size())}, values.data());
}

uint32_t EdgeWriter::op_index(const std::string& name) {
  for (size_t i = 0; i < operators.size(); ++i) {
    if (operators[i].first == name) return static_cast<uint32_t>(i);
  }
  operators.emplace_back(name, 1);
  return static_cast<uint32_t>(operators.size() - 1);
}

uint32_t EdgeWriter::node(const std::string& op, const std::string& name, std::vector<uint32_t> inputs,
                          AttrList attrs) {
  WriterGraph& graph = graphs[0];
  WriterTensor tensor;
  tensor.name = name;
  graph.tensors.push_back(std::move(tensor));
  const uint32_t index = static_cast<uint32_t>(graph.tensors.size() - 1);
  graph.nodes.push_back({op_index(op), name, std::move(inputs), {index}, std::move(attrs)});
  return index;
}

EdgeBytes EdgeWriter::write() const {
  struct Part {
    std::string kind;
    Out out;
    size_t alignment;
  };
  std::vector<Part> parts;
  parts.push_back({"GRPH", graph_section(*this), 64});
  if (!metadata.empty()) parts.push_back({"META", metadata_section(*this), 64});
  for (const WriterSection& section : extra) {
    parts.push_back({section.kind, Out{section.bytes, {}}, 64});
  }
  parts.push_back({"WGHT", Out{weights, {}}, 4096});

  std::vector<size_t> offsets;
  size_t end = kHeader + parts.size() * kEntry;
  for (const Part& part : parts) {
    end = (end + part.alignment - 1) / part.alignment * part.alignment;
    offsets.push_back(end);
    end += part.out.bytes.size();
  }

  Out out;
  out.bytes = {0x89, 'E', 'D', 'G', 'E', '\r', '\n', 0x1A};
  out.put<uint16_t>("header.major", 1);
  out.put<uint16_t>("header.minor", 0);
  out.put<uint32_t>("header.endian", 0x01020304);
  out.put<uint32_t>("header.sections", static_cast<uint32_t>(parts.size()));
  out.put<uint32_t>("header.crc", 0);
  out.put<uint64_t>("header.file_size", end);
  for (int i = 0; i < 4; ++i) out.put<uint64_t>("header.reserved" + std::to_string(i), 0);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string path = "section." + parts[i].kind;
    out.fields.push_back({path + ".kind", out.bytes.size(), 4});
    out.bytes.insert(out.bytes.end(), parts[i].kind.begin(), parts[i].kind.begin() + 4);
    out.put<uint32_t>(path + ".crc", 0);
    out.put<uint64_t>(path + ".offset", offsets[i]);
    out.put<uint64_t>(path + ".size", parts[i].out.bytes.size());
    out.put<uint64_t>(path + ".reserved", 0);
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    out.bytes.resize(offsets[i]);
    for (EdgeBytes::Field field : parts[i].out.fields) {
      field.offset += offsets[i];
      out.fields.push_back(std::move(field));
    }
    out.bytes.insert(out.bytes.end(), parts[i].out.bytes.begin(), parts[i].out.bytes.end());
  }
  EdgeBytes file{std::move(out.bytes), std::move(out.fields)};
  file.seal();
  return file;
}

}  // namespace edgec::test
