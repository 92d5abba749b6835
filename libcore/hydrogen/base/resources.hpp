#pragma once
// What slots need beside themselves, and what nodes have: memory, devices by kind, labels. Plain values.

#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen {

struct device_count {
  std::string kind;  // "gpu"
  std::uint32_t count = 0;
  bool operator==(const device_count&) const = default;
  template <class I>
  friend auto inspect(I& f, device_count& x) {
    return f(x.kind, x.count);
  }
};

/// What a node has beside its slots, or what each slot of a request needs beside itself.
struct resources {
  std::uint64_t memory = 0;           // bytes
  std::vector<device_count> devices;  // each kind once
  bool none() const { return memory == 0 && devices.empty(); }
  bool operator==(const resources&) const = default;
  template <class I>
  friend auto inspect(I& f, resources& x) {
    return f(x.memory, x.devices);
  }
};

/// How the slots of a gang lie on nodes: on as few as possible, evenly on as many as possible, or all on one.
enum class placement : std::uint8_t { pack, spread, one_node };

/// Which slots will do.
struct demand {
  resources each;                   // of every slot
  std::vector<std::string> labels;  // that a node must have, all of them: "zone=a", "ssd"
  placement how = placement::pack;  // of a gang
  /// Any slot will do, wherever it is.
  bool any_slot() const { return each.none() && labels.empty() && how != placement::one_node; }
  bool operator==(const demand&) const = default;
  template <class I>
  friend auto inspect(I& f, demand& x) {
    return f(x.each, x.labels, x.how);
  }
};

/// Bytes of memory of this host; 0: not known.
std::uint64_t physical_memory();

/// What n slots need is added, taken away.
void add(resources& sum, const resources& each, std::uint32_t n);
void subtract(resources& sum, const resources& each, std::uint32_t n);

/// Slots of several attempts on one node, and what they need together.
struct share {
  std::uint32_t slots = 0;
  resources all;
};

/// What a node has in all.
struct node_size {
  std::uint32_t slots = 0;
  resources has;
  std::vector<std::string> labels;
  /// How many slots of this kind it would hold beside what is taken; with `freed` of that given back.
  std::uint32_t room(const demand&, const share& taken = {}, const share* freed = nullptr) const;
};

}  // namespace hydrogen
