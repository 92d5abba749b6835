// Random programs of collectives: random groups, operations, types, sizes, delays, buffers and placements, some calls
// waited for later; every rank compares what it gets with a plain sequential computation.
#include "gang.hpp"
#include "reference.hpp"
#include <doctest/doctest.h>

#include <cstdlib>
#include <list>
#include <numeric>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

namespace {

unexpected wrong(std::string what) {
  return fail(errc::internal, std::move(what));
}

/// One call; all ranks and the reference make it from the same seed.
struct step {
  operation what = operation::barrier;
  element kind = element::float32;
  reduction how = reduction::sum;
  std::size_t count = 0;
  std::size_t among = 0;  // number of a group: 0 the whole gang
  std::uint32_t root = 0;
  std::uint32_t to = 0;
  bool later = false;
  bool in_gang_buffer = false;
  bool slow = false;  // one rank comes late
  std::uint64_t seed = 0;
};

struct program {
  std::vector<std::vector<std::uint32_t>> groups;  // the first: everyone
  std::vector<step> steps;
};

std::size_t random_size(random_source& random) {
  switch (random.below(24)) {
    case 0:
      return 0;
    case 1:
      return 280'000 + random.below(100'000);
    case 2:
    case 3:
      return 20'000 + random.below(20'000);
    default:
      return random.below(2) == 0 ? random.below(40) : 600 + random.below(5000);
  }
}

program random_program(std::uint64_t seed, std::uint32_t ranks) {
  random_source random(seed);
  program p;
  p.groups.emplace_back(ranks);
  std::iota(p.groups[0].begin(), p.groups[0].end(), 0);
  for (auto n = random.below(3); n > 0; --n) {
    std::vector<std::uint32_t> some;
    for (std::uint32_t r = 0; r < ranks; ++r) {
      if (random.below(2) == 0) some.push_back(r);
    }
    if (!some.empty()) p.groups.push_back(std::move(some));
  }
  p.steps.resize(1 + random.below(8));
  for (auto& s : p.steps) {
    s.among = random.below(p.groups.size());
    const auto size = p.groups[s.among].size();
    s.what = static_cast<operation>(1 + random.below(10));
    if (s.what == operation::transfer && size == 1) s.what = operation::barrier;
    s.kind = static_cast<element>(random.below(7));
    const bool reduces =
        s.what == operation::all_reduce || s.what == operation::reduce || s.what == operation::reduce_scatter;
    if (reduces && s.kind == element::none) s.kind = element::bfloat16;
    s.how = static_cast<reduction>(random.below(5));
    if (is_integer(s.kind) && s.how == reduction::mean) s.how = reduction::sum;
    s.count = random_size(random);
    s.root = static_cast<std::uint32_t>(random.below(size));
    s.to = static_cast<std::uint32_t>((s.root + 1 + random.below(size > 1 ? size - 1 : 1)) % size);
    s.later = random.below(3) == 0;
    s.in_gang_buffer = random.below(3) == 0;
    s.slow = random.below(20) == 0;
    s.seed = random();
  }
  return p;
}

byte_buffer bytes_for(std::uint64_t seed, std::size_t count) {
  random_source random(seed);
  byte_buffer out(count);
  for (auto& b : out) b = static_cast<std::byte>(random());
  return out;
}

/// What a call needs until its result has been looked at. `check` looks.
struct made {
  std::function<expected<void>()> check;  // keeps the buffers of the call, which ends first
  pending call;
};

/// Runs the steps of one rank.
class runner {
 public:
  runner(group& whole, gang_buffer<double> shared) : whole_(whole), shared_(std::move(shared)) {}

  expected<void> run(const program& p) {
    groups_.clear();
    for (const auto& ranks : p.groups) {
      groups_.emplace_back();
      if (&ranks == &p.groups[0] || std::find(ranks.begin(), ranks.end(), whole_.rank()) == ranks.end()) continue;
      auto some = whole_.subgroup(ranks);
      if (!some) return unexpected(some.error());
      groups_.back() = std::move(*some);
    }
    for (const auto& s : p.steps) {
      auto* g = s.among == 0 ? &whole_ : groups_[s.among].get();
      if (g == nullptr) continue;
      if (s.slow && s.seed % whole_.size() == whole_.rank()) std::this_thread::yield();
      if (auto ok = make(*g, s); !ok) return ok;
      // Calls that are waited for later have a buffer of the gang to themselves.
      if (!s.later || s.in_gang_buffer) {
        if (auto ok = settle(); !ok) return ok;
      }
    }
    auto ok = settle();
    // Nobody leaves a group that another still waits in.
    if (ok) ok = whole_.barrier();
    groups_.clear();
    return ok;
  }

 private:
  expected<void> settle() {
    for (auto& m : open_) {
      if (auto ok = m.call.wait(); !ok) return ok;
      if (auto ok = m.check(); !ok) return ok;
    }
    open_.clear();
    return {};
  }

  /// Adds what has still to be looked at.
  void add(pending call, std::function<expected<void>()> check) {
    open_.push_back({std::move(check), std::move(call)});
  }
  expected<void> add(expected<void> done, const std::function<expected<void>()>& check) {
    return done ? check() : done;
  }

  expected<void> make(group& g, const step& s) {
    if (s.what == operation::barrier) return g.barrier();
    switch (s.kind) {
      case element::none:
        return bytes(g, s);
      case element::float32:
        return typed<float>(g, s);
      case element::float64:
        return typed<double>(g, s);
      case element::int64:
        return typed<std::int64_t>(g, s);
      case element::int32:
        return typed<std::int32_t>(g, s);
      case element::float16:
        return typed<half>(g, s);
      case element::bfloat16:
        return typed<bfloat16>(g, s);
    }
    return {};
  }

  template <class T>
  expected<void> typed(group& g, const step& s) {
    const bool has_type =
        s.what != operation::gather && s.what != operation::scatter && s.what != operation::all_to_all;
    if (!has_type) return bytes(g, s);
    auto all = std::make_shared<std::vector<std::vector<T>>>();
    for (std::uint32_t r = 0; r < g.size(); ++r) all->push_back(values<T>(hash_mix(s.seed, r), s.count));
    auto own = std::make_shared<std::vector<T>>((*all)[g.rank()]);
    std::span<T> x(*own);
    if (s.in_gang_buffer && s.count * sizeof(T) <= shared_.size() * sizeof(double)) {
      x = {reinterpret_cast<T*>(shared_.data()), s.count};
      std::copy(own->begin(), own->end(), x.begin());
    }
    const auto compare = [x, s, own, all](std::vector<T> wanted) -> expected<void> {
      return same_bits<T>(x, wanted) ? expected<void>() : wrong("a call of " + std::to_string(s.count) + " differs");
    };
    switch (s.what) {
      case operation::all_reduce: {
        const auto check = [=] { return compare(reduced(*all, s.how)); };
        if (!s.later) return add(g.all_reduce(x, s.how), check);
        add(g.all_reduce_async(x, s.how), check);
        return {};
      }
      case operation::reduce: {
        const auto check = [=, rank = g.rank()] {
          return compare(rank == s.root ? reduced(*all, s.how) : (*all)[rank]);
        };
        if (!s.later) return add(g.reduce(s.root, x, s.how), check);
        add(g.reduce_async(s.root, x, s.how), check);
        return {};
      }
      case operation::reduce_scatter: {
        const auto check = [=, rank = g.rank(), size = g.size()] {
          auto wanted = (*all)[rank];
          const auto sum = reduced(*all, s.how);
          const auto mine = share_of(s.count, rank, size);
          std::copy_n(sum.begin() + mine.begin, mine.count, wanted.begin() + mine.begin);
          return compare(std::move(wanted));
        };
        if (!s.later) return add(g.reduce_scatter(x, s.how), check);
        add(g.reduce_scatter_async(x, s.how), check);
        return {};
      }
      case operation::all_gather: {
        const auto check = [=, size = g.size()] {
          std::vector<T> wanted(s.count);
          for (std::uint32_t r = 0; r < size; ++r) {
            const auto part = share_of(s.count, r, size);
            std::copy_n((*all)[r].begin() + part.begin, part.count, wanted.begin() + part.begin);
          }
          return compare(std::move(wanted));
        };
        if (!s.later) return add(g.all_gather(x), check);
        add(g.all_gather_async(x), check);
        return {};
      }
      case operation::broadcast: {
        const auto check = [=] { return compare((*all)[s.root]); };
        if (!s.later) return add(g.broadcast(s.root, x), check);
        add(g.broadcast_async(s.root, x), check);
        return {};
      }
      case operation::transfer: {
        if (g.rank() == s.root) return g.send(s.to, x);
        if (g.rank() != s.to) return {};
        return add(g.receive(s.root, x), [=] { return compare((*all)[s.root]); });
      }
      default:
        return {};
    }
  }

  expected<void> bytes(group& g, const step& s) {
    const auto size_for = [s](std::uint32_t from, std::uint32_t to) {
      return hash_mix(hash_mix(s.seed, from), to) % (s.count + 1);
    };
    const auto content = [=](std::uint32_t from, std::uint32_t to) {
      return bytes_for(hash_mix(hash_mix(s.seed, from), to), size_for(from, to));
    };
    const auto rank = g.rank();
    const auto differ = [](const char* what) { return wrong(std::string(what) + " differs"); };
    switch (s.what) {
      case operation::all_gather: {
        auto all = g.all_gather(content(rank, 0));
        if (!all) return unexpected(all.error());
        for (std::uint32_t r = 0; r < g.size(); ++r) {
          if ((*all)[r] != content(r, 0)) return differ("all_gather");
        }
        return {};
      }
      case operation::gather: {
        auto all = std::make_shared<std::vector<byte_buffer>>();
        auto mine = std::make_shared<byte_buffer>(content(rank, 0));
        const auto check = [=, size = g.size()]() -> expected<void> {
          if (all->size() != (rank == s.root ? size : 0)) return differ("gather: the number of ranks");
          for (std::uint32_t r = 0; r < all->size(); ++r) {
            if ((*all)[r] != content(r, 0)) return differ("gather");
          }
          return {};
        };
        if (s.later) {
          add(g.gather_async(s.root, *mine, *all), [=, kept = mine] { return check(); });
          return {};
        }
        auto got = g.gather(s.root, *mine);
        if (!got) return unexpected(got.error());
        *all = std::move(*got);
        return check();
      }
      case operation::broadcast: {
        auto b = rank == s.root ? content(s.root, 0) : bytes_for(1, rank);
        if (auto ok = g.broadcast(s.root, b); !ok) return ok;
        return b == content(s.root, 0) ? expected<void>() : differ("broadcast");
      }
      case operation::scatter:
      case operation::all_to_all: {
        const bool everyone = s.what == operation::all_to_all;
        std::vector<byte_buffer> parts;
        std::vector<byte_view> views;
        for (std::uint32_t r = 0; r < g.size() && (everyone || rank == s.root); ++r) parts.push_back(content(rank, r));
        for (const auto& part : parts) views.push_back(part);
        if (!everyone) {
          auto mine = g.scatter(s.root, views);
          if (!mine) return unexpected(mine.error());
          return *mine == content(s.root, rank) ? expected<void>() : differ("scatter");
        }
        auto all = g.all_to_all(views);
        if (!all) return unexpected(all.error());
        for (std::uint32_t r = 0; r < g.size(); ++r) {
          if ((*all)[r] != content(r, rank)) return differ("all_to_all");
        }
        return {};
      }
      case operation::transfer: {
        if (rank == s.root) return g.send(s.to, content(s.root, s.to));
        if (rank != s.to) return {};
        auto b = g.receive(s.root);
        if (!b) return unexpected(b.error());
        return *b == content(s.root, s.to) ? expected<void>() : differ("receive");
      }
      default:
        return {};
    }
  }

  group& whole_;
  gang_buffer<double> shared_;
  std::vector<std::unique_ptr<group>> groups_;
  std::list<made> open_;
};

int number_of_programs() {
  const char* wanted = std::getenv("HYDROGEN_TEST_PROGRAMS");
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int usual = 300;
#else
  constexpr int usual = 1000;
#endif
  return wanted != nullptr ? std::atoi(wanted) : usual;
}

}  // namespace

TEST_CASE("random programs of collectives give what a sequential run gives") {
  constexpr int in_one_gang = 10;
  for (int first = 1; first <= number_of_programs(); first += in_one_gang) {
    random_source random(static_cast<std::uint64_t>(first));
    const auto all = placements(1 + static_cast<int>(random.below(6)));
    const auto placement = all[random.below(all.size())];
    gang team(placement);
    const auto results = team.run([&](group& g) -> expected<void> {
      auto shared = g.buffer<double>(40'000);
      if (!shared) return unexpected(shared.error());
      runner rank(g, *shared);
      for (int i = first; i < first + in_one_gang; ++i) {
        if (auto ok = rank.run(random_program(static_cast<std::uint64_t>(i), g.size())); !ok) {
          return fail(ok.error().code, "program " + std::to_string(i) + ": " + ok.error().message());
        }
      }
      return {};
    });
    for (std::uint32_t r = 0; r < team.size(); ++r) {
      INFO("programs from ", first, ", ", text_of(placement), ", rank ", r);
      CHECK_MESSAGE(results[r], results[r].error().message());
    }
  }
}
