#include "simulation.hpp"

#include <hydrogen/base/error.hpp>

#include "event_queue.hpp"
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <deque>

namespace hydrogen::bench {
namespace {

using picoseconds = std::int64_t;
constexpr picoseconds slice = 3'000'000'000;  // of a core, when several ranks want it

picoseconds of_us(double us) {
  return std::llround(us * 1e6);
}
picoseconds of_bytes(std::uint64_t bytes, double ns_per_byte) {
  return std::llround(static_cast<double>(bytes) * ns_per_byte * 1e3);
}

/// As small as it can be, since there are millions; total and code are the same in all frames of a call.
struct frame {
  picoseconds at = 0;  // when it is at the other host, or through its NIC
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t chunk = 0;
  std::uint16_t from = 0;
  std::uint16_t to = 0;
  std::uint16_t phase = 0;
};

/// What goes in where it goes out: a NIC, or the wire behind it.
struct stream {
  std::deque<frame> frames;
  picoseconds free_at = 0;
};

class simulation {
 public:
  simulation(const network_constants& c, const network_places& places, std::uint64_t data_bytes)
      : constants_(c),
        places_(places),
        overhead_(of_us(c.overhead_us)),
        latency_(of_us(c.latency_us)),
        gap_(of_us(c.gap_us)),
        wake_(of_us(c.wake_us)),
        spin_(of_us(c.spin_us)),
        change_(of_us(c.change_us)),
        cores_(1 + *std::max_element(places.core.begin(), places.core.end())),
        out_(1 + *std::max_element(places.host.begin(), places.host.end())),
        in_(out_.size()) {
    invariant(places.host.size() <= 0xffff, "more ranks than a simulation can number");
    for (std::uint32_t r = 0; r < places.host.size(); ++r) {
      members_.push_back(std::make_unique<member>(*this, r, data_bytes));
    }
  }

  simulated_run run(const std::function<simulated_call(std::uint32_t)>& call) {
    for (auto& m : members_) {
      m->call = call(m->self);
      m->waits_for = m->size() - 1;
      wake(*m);
    }
    for (event_queue::event e{}; events_.next(e);) {
      now_ = e.at;
      const auto index = e.what >> 2;
      switch (static_cast<happening>(e.what & 3)) {
        case happening::core_is_free:
          go_on(cores_[index], index);
          break;
        case happening::arrives:
          arrive(index);
          break;
        case happening::is_in:
          hand_over(index);
          break;
      }
    }
    simulated_run result;
    for (const auto& m : members_) {
      if (!m->is_done) throw failure(error{errc::internal, "a simulated rank waits for what nobody sends", {}, {}});
      result.ranks.push_back(m->figures);
      result.us = std::max(result.us, static_cast<double>(m->figures.done_ps) / 1e6);
    }
    return result;
  }

 private:
  enum class happening : std::uint8_t { core_is_free, arrives, is_in };  // to a core or a host

  struct member final : comm::exchange_port {
    member(simulation& s, std::uint32_t r, std::uint64_t data) : network(s), self(r), data_bytes(data) {}

    std::uint32_t rank() const override { return self; }
    std::uint32_t size() const override { return static_cast<std::uint32_t>(network.members_.size()); }
    void send(std::uint32_t to, comm::frame_header h, byte_view payload, bool first) override {
      if (!network.knows_total_) {
        network.total_ = h.total;
        network.code_ = h.code;
        network.knows_total_ = true;
      }
      invariant(h.total == network.total_ && h.code == network.code_ && h.length == payload.size(),
                "frames of a simulated call differ in what they say of it");
      frame f;
      f.offset = h.offset;
      f.length = static_cast<std::uint32_t>(h.length);
      f.chunk = h.chunk;
      f.from = static_cast<std::uint16_t>(self);
      f.to = static_cast<std::uint16_t>(to);
      f.phase = h.phase;
      (first ? out_first : out).push_back(f);
      ++figures.sent_messages;
      figures.sent_bytes += h.length;
    }
    std::byte* scratch(std::size_t size) override {
      invariant(size + data_bytes <= nowhere_bytes, "more scratch than a simulation has addresses for");
      figures.scratch_bytes = std::max<std::uint64_t>(figures.scratch_bytes, size);
      return nowhere() + data_bytes;
    }
    void combine(comm::element kind, comm::reduction, std::span<const std::byte* const> sources, std::size_t count,
                 std::byte*, std::span<const std::uint32_t>) override {
      const auto& c = network.constants_;
      computes += of_bytes((sources.size() + 1) * count * comm::size_of(kind),
                           from_memory() ? c.add_ns_per_byte : c.cached_add_ns_per_byte);
    }
    void divide(comm::element, std::size_t, std::uint32_t, std::byte*) override {}

    bool from_memory() const { return data_bytes + figures.scratch_bytes > network.constants_.cache_bytes; }
    bool has_work() const { return !started || !in.empty() || !out.empty() || !out_first.empty(); }

    simulation& network;
    std::uint32_t self;
    std::uint64_t data_bytes;
    simulated_call call;
    simulated_rank figures;
    std::deque<frame> out, out_first, in;
    std::uint32_t waits_for = 0;
    picoseconds computes = 0;  // what the last step has added up
    bool started = false;
    bool sent_last = false;  // rather than received
    bool is_queued = false;  // it has its core, or waits for it
    bool is_finishing = false;
    bool is_done = false;
  };

  enum class step : std::uint8_t { none, start, send, receive };
  struct core {
    std::deque<member*> waiting;
    member* running = nullptr;
    member* last = nullptr;
    step current = step::none;
    frame what;
    picoseconds slice_ends = 0;
    picoseconds idle_since = 0;
    bool is_planned = false;
  };

  void plan(picoseconds at, happening what, std::uint32_t index) {
    events_.plan(at, index << 2 | static_cast<std::uint32_t>(what));
  }

  /// There is something to do for a rank.
  void wake(member& m) {
    if (m.is_queued) return;
    m.is_queued = true;
    const auto index = places_.core[m.self];
    auto& c = cores_[index];
    c.waiting.push_back(&m);
    if (c.is_planned) return;
    c.is_planned = true;
    plan(now_ + (now_ - c.idle_since > spin_ ? wake_ : 0), happening::core_is_free, index);
  }

  /// A core has ended its step: what comes of that, and the next one.
  void go_on(core& c, std::uint32_t index) {
    picoseconds busy = 0;
    if (c.current != step::none) busy = end_step(*c.running, c.current, c.what);
    c.current = step::none;
    if (busy == 0) busy = begin_step(c);
    c.is_planned = busy >= 0;
    if (c.is_planned) {
      plan(now_ + busy, happening::core_is_free, index);
    } else {
      c.idle_since = now_;
    }
  }

  /// How long the core computes after that.
  picoseconds end_step(member& m, step s, const frame& f) {
    m.computes = 0;
    if (s == step::start) {
      m.call.exchange->start(m);
    } else if (s == step::send) {
      leave(f);
    } else {
      comm::frame_header h;
      h.offset = f.offset;
      h.length = f.length;
      h.total = total_;
      h.chunk = f.chunk;
      h.phase = f.phase;
      h.code = code_;
      if (auto place = m.call.exchange->place(f.from, h); !place) throw failure(place.error());
      m.call.exchange->arrived(f.from, h, m);
      ++m.figures.received_messages;
      m.figures.received_bytes += f.length;
      if (m.call.exchange->has_all_of(f.from)) --m.waits_for;
    }
    if (!m.is_finishing && m.waits_for == 0 && m.out.empty() && m.out_first.empty() && m.in.empty()) {
      m.is_finishing = true;
      if (m.call.finish) m.call.finish(m);
      m.is_done = true;
      m.figures.done_ps = now_ + m.computes;
    }
    return m.computes;
  }

  /// How long it takes; less than nothing: the core is idle.
  picoseconds begin_step(core& c) {
    picoseconds change = 0;
    if (c.running != nullptr && (!c.running->has_work() || (now_ >= c.slice_ends && !c.waiting.empty()))) {
      if (c.running->has_work()) {
        c.waiting.push_back(c.running);
      } else {
        c.running->is_queued = false;
      }
      c.running = nullptr;
    }
    if (c.running == nullptr) {
      if (c.waiting.empty()) return -1;
      c.running = c.waiting.front();
      c.waiting.pop_front();
      c.slice_ends = now_ + slice;
      if (c.last != c.running && c.last != nullptr) change = change_;
      c.last = c.running;
    }
    auto& m = *c.running;
    if (!m.started) {
      m.started = true;
      c.current = step::start;
      return change;
    }
    const bool can_send = !m.out.empty() || !m.out_first.empty();
    m.sent_last = can_send && (m.in.empty() || !m.sent_last);
    auto& from = !m.sent_last ? m.in : !m.out_first.empty() ? m.out_first : m.out;
    c.current = m.sent_last ? step::send : step::receive;
    c.what = from.front();
    from.pop_front();
    return change + overhead_ +
           of_bytes(c.what.length, m.from_memory() ? constants_.copy_ns_per_byte : constants_.cached_copy_ns_per_byte);
  }

  picoseconds on_wire(const frame& f) const {
    const auto bytes = std::uint64_t{f.length} + comm::frame_prefix_size + comm::frame_padding(f.length);
    const auto packets = (bytes + constants_.segment - 1) / constants_.segment;
    return of_bytes(bytes + packets * constants_.headers, constants_.wire_ns_per_byte);
  }

  /// A frame is in the kernel of its sender.
  void leave(frame f) {
    const auto from = places_.host[f.from];
    if (from == places_.host[f.to]) {
      auto& to = *members_[f.to];
      to.in.push_back(f);
      wake(to);
      return;
    }
    auto& nic = out_[places_.one_wire ? 0 : from];
    const auto begins = std::max(now_, nic.free_at);
    nic.free_at = begins + std::max(gap_, on_wire(f));
    f.at = begins + latency_;
    nic.frames.push_back(f);
    if (nic.frames.size() == 1) plan(f.at, happening::arrives, places_.one_wire ? 0 : from);
  }

  /// The first frame that has left a host reaches the one it goes to.
  void arrive(std::uint32_t host) {
    auto& from = out_[host];
    auto f = from.frames.front();
    from.frames.pop_front();
    if (!from.frames.empty()) plan(from.frames.front().at, happening::arrives, host);
    const auto to = places_.host[f.to];
    auto& nic = in_[to];
    nic.free_at = std::max(now_, nic.free_at) + on_wire(f);
    f.at = nic.free_at;
    nic.frames.push_back(f);
    if (nic.frames.size() == 1) plan(f.at, happening::is_in, to);
  }

  void hand_over(std::uint32_t host) {
    auto& nic = in_[host];
    auto& to = *members_[nic.frames.front().to];
    to.in.push_back(nic.frames.front());
    nic.frames.pop_front();
    if (!nic.frames.empty()) plan(nic.frames.front().at, happening::is_in, host);
    wake(to);
  }

  const network_constants& constants_;
  const network_places& places_;
  const picoseconds overhead_, latency_, gap_, wake_, spin_, change_;
  std::vector<core> cores_;
  std::vector<stream> out_, in_;  // of each host
  std::vector<std::unique_ptr<member>> members_;
  event_queue events_;
  picoseconds now_ = 0;
  std::uint64_t total_ = 0;
  std::uint8_t code_ = 0;
  bool knows_total_ = false;
};

}  // namespace

network_places network_places::even(std::uint32_t hosts, std::uint32_t ranks_per_host, std::uint32_t cores_per_host) {
  network_places p;
  const auto used = std::min(ranks_per_host, cores_per_host);
  for (std::uint32_t h = 0; h < hosts; ++h) {
    for (std::uint32_t r = 0; r < ranks_per_host; ++r) {
      p.host.push_back(h);
      p.core.push_back(h * used + r % used);
    }
  }
  return p;
}

network_places network_places::loopback(std::uint32_t ranks, std::uint32_t cores) {
  network_places p;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    p.host.push_back(r);
    p.core.push_back(r % cores);
  }
  p.one_wire = true;
  return p;
}

std::byte* nowhere() {
  static std::byte* const at = [] {
    auto* p = ::mmap(nullptr, nowhere_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw failure(fail_errno("mmap", "addresses for a simulation").value());
    return static_cast<std::byte*>(p);
  }();
  return at;
}

simulated_run simulate(const network_constants& c, const network_places& places, std::uint64_t data_bytes,
                       const std::function<simulated_call(std::uint32_t)>& call) {
  return simulation(c, places, data_bytes).run(call);
}

}  // namespace hydrogen::bench
