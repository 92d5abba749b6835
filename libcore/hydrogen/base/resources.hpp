#pragma once
// What slots need beside themselves, and what nodes have: memory, devices by kind, labels. Plain values.

#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen {

/// Devices are granted whole, and to one attempt at a time; its slots on a node may share them.
struct device_count {
  std::string kind;             // "gpu"
  std::uint32_t count = 0;      // of a node in all; of a request for each slot, or for so many slots:
  std::uint32_t shared_by = 1;  // 4: four slots of an attempt on one node get `count` together, a quarter each
  bool operator==(const device_count&) const = default;
  template <class I>
  friend auto inspect(I& f, device_count& x) {
    return f(x.kind, x.count, x.shared_by);
  }
  /// How many `slots` slots of an attempt on one node need.
  std::uint32_t for_slots(std::uint32_t slots) const {
    const auto each = shared_by == 0 ? 1 : shared_by;
    return count * (slots / each + (slots % each == 0 ? 0 : 1));
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

/// What will do for both: of each need the larger one, all labels.
demand both(demand, const demand&);
/// Why a demand makes no sense, for people; empty: it does.
std::string problem_of(const demand&);

/// Bytes of memory of this host; 0: not known.
std::uint64_t physical_memory();

/// Of this kind, of those listed.
std::uint32_t count_of(const std::vector<device_count>&, const std::string& kind);
/// What n slots of an attempt on one node need is added, taken away.
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
