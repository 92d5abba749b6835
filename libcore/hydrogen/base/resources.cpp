#include <hydrogen/base/resources.hpp>

#include <unistd.h>

#include <algorithm>

namespace hydrogen {

std::uint32_t count_of(const std::vector<device_count>& devices, const std::string& kind) {
  for (const auto& d : devices) {
    if (d.kind == kind) return d.count;
  }
  return 0;
}

demand both(demand a, const demand& b) {
  a.each.memory = std::max(a.each.memory, b.each.memory);
  for (const auto& d : b.each.devices) {
    const auto at =
        std::find_if(a.each.devices.begin(), a.each.devices.end(), [&](auto& x) { return x.kind == d.kind; });
    if (at == a.each.devices.end()) {
      a.each.devices.push_back(d);
    } else if (std::uint64_t{d.count} * at->shared_by > std::uint64_t{at->count} * d.shared_by) {
      *at = d;  // more for each slot
    }
  }
  for (const auto& label : b.labels) {
    if (std::find(a.labels.begin(), a.labels.end(), label) == a.labels.end()) a.labels.push_back(label);
  }
  return a;
}

std::string problem_of(const demand& what) {
  for (const auto& d : what.each.devices) {
    const auto same = [&](const device_count& other) { return other.kind == d.kind; };
    if (d.kind.empty()) return "devices without a kind";
    if (d.count == 0) return "0 devices of the kind " + d.kind;
    if (d.shared_by == 0) return "devices of the kind " + d.kind + " shared by 0 slots";
    if (std::count_if(what.each.devices.begin(), what.each.devices.end(), same) > 1) {
      return "devices of the kind " + d.kind + " are asked for twice";
    }
  }
  return {};
}

std::uint64_t physical_memory() {
  const auto pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size) : 0;
}

void add(resources& sum, const resources& each, std::uint32_t n) {
  sum.memory += each.memory * n;
  for (const auto& d : each.devices) {
    const auto at = std::find_if(sum.devices.begin(), sum.devices.end(), [&](auto& s) { return s.kind == d.kind; });
    if (at != sum.devices.end()) {
      at->count += d.for_slots(n);
    } else {
      sum.devices.push_back({d.kind, d.for_slots(n)});
    }
  }
}

void subtract(resources& sum, const resources& each, std::uint32_t n) {
  sum.memory -= each.memory * n;
  for (const auto& d : each.devices) {
    for (auto& s : sum.devices) s.count -= s.kind == d.kind ? d.for_slots(n) : 0;
  }
}

std::uint32_t node_size::room(const demand& needs, const share& taken, const share* freed) const {
  for (const auto& label : needs.labels) {
    if (std::find(labels.begin(), labels.end(), label) == labels.end()) return 0;
  }
  std::uint64_t found = UINT32_MAX;
  const auto limit = [&](std::uint64_t each, std::uint64_t total, std::uint64_t used, std::uint64_t back,
                         std::uint64_t slots_for_each = 1) {
    used -= std::min(used, back);
    if (each > 0) found = std::min(found, (total > used ? total - used : 0) / each * slots_for_each);
  };
  limit(1, slots, taken.slots, freed == nullptr ? 0 : freed->slots);
  limit(needs.each.memory, has.memory, taken.all.memory, freed == nullptr ? 0 : freed->all.memory);
  for (const auto& d : needs.each.devices) {
    limit(d.count, count_of(has.devices, d.kind), count_of(taken.all.devices, d.kind),
          freed == nullptr ? 0 : count_of(freed->all.devices, d.kind), std::max(1U, d.shared_by));
  }
  return static_cast<std::uint32_t>(found);
}

}  // namespace hydrogen
