// Attribute values of a node and their schema.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace edgec {

// The numbers are written to .edge files and never change. kGraph holds the index of a sub-graph.
enum class AttrType : uint8_t { kInt = 1, kFloat = 2, kString = 3, kInts = 4, kFloats = 5, kGraph = 6 };

struct AttrValue {
  AttrType type = AttrType::kInt;
  int64_t i = 0;  // kInt, kGraph
  double f = 0;   // kFloat
  std::string s;  // kString
  std::vector<int64_t> ints;
  std::vector<double> floats;

  AttrValue() = default;
  AttrValue(int v) : type(AttrType::kInt), i(v) {}
  AttrValue(int64_t v) : type(AttrType::kInt), i(v) {}
  AttrValue(double v) : type(AttrType::kFloat), f(v) {}
  AttrValue(const char* v) : type(AttrType::kString), s(v) {}
  AttrValue(std::string v) : type(AttrType::kString), s(std::move(v)) {}
  AttrValue(std::vector<int64_t> v) : type(AttrType::kInts), ints(std::move(v)) {}
  AttrValue(std::vector<double> v) : type(AttrType::kFloats), floats(std::move(v)) {}
  static AttrValue graph(int64_t index) {
    AttrValue v(index);
    v.type = AttrType::kGraph;
    return v;
  }
};

// A node's attributes; a handful per node, so a flat vector beats a map.
using AttrList = std::vector<std::pair<std::string, AttrValue>>;

}  // namespace edgec
