#include <hydrogen/comm/element.hpp>
#include <hydrogen/comm/islands.hpp>

#include "gang.hpp"
#include "reference.hpp"
#include <doctest/doctest.h>

#include <cstring>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

namespace {

std::string text(const std::vector<island>& islands) {
  std::string out;
  for (const auto& i : islands) {
    out += (out.empty() ? "" : " ") + std::to_string(i.first) + "+" + std::to_string(i.size);
  }
  return out;
}

/// One letter a rank.
std::string islands_on(std::string_view hosts) {
  std::vector<std::string_view> all;
  for (std::size_t r = 0; r < hosts.size(); ++r) all.push_back(hosts.substr(r, 1));
  return text(islands_of(all));
}

}  // namespace

TEST_CASE("an island is a whole branch of the tree over ranks, on one host") {
  CHECK(islands_on("aaaa") == "0+4");
  CHECK(islands_on("aaaabbbb") == "0+4 4+4");
  CHECK(islands_on("aabbccdd") == "0+2 2+2 4+2 6+2");
  // Of three on each host, two are a branch.
  CHECK(islands_on("aaabbb") == "0+2 2+1 3+1 4+2");
  CHECK(islands_on("aaaaaabbbbbb") == "0+4 4+2 6+2 8+4");
  CHECK(islands_on("abababab") == "0+1 1+1 2+1 3+1 4+1 5+1 6+1 7+1");
  CHECK(islands_on("abb") == "0+1 1+1 2+1");
  CHECK(islands_on("aab") == "0+2 2+1");
  CHECK(islands_on("a") == "0+1");
  CHECK(islands_on("") == "");
}

TEST_CASE("where one rank of an island shares no memory, its ranks stand for themselves") {
  const std::vector<island> two{{0, 2}, {2, 2}};
  std::vector<std::byte> shares(4, std::byte{1});
  CHECK(text(without(two, shares)) == "0+2 2+2");
  shares[3] = std::byte{0};
  CHECK(text(without(two, shares)) == "0+2 2+1 3+1");
}

TEST_CASE("sums of branches, added, have the bits of adding all ranks") {
  random_source random(7);
  for (int round = 0; round < 200; ++round) {
    const auto ranks = 2 + random.below(30);
    std::string hosts;
    for (std::size_t r = 0; r < ranks; ++r) hosts += static_cast<char>('a' + (r == 0 ? 0 : random.below(4) / 3));
    for (std::size_t r = 1; r < ranks; ++r) hosts[r] = static_cast<char>(hosts[r - 1] + (hosts[r] - 'a'));
    std::vector<std::string_view> names;
    for (std::size_t r = 0; r < ranks; ++r) names.push_back(std::string_view(hosts).substr(r, 1));
    constexpr std::size_t count = 1500;
    std::vector<std::vector<float>> data;
    std::vector<const std::byte*> sources;
    for (std::size_t r = 0; r < ranks; ++r) data.push_back(values<float>(hash_mix(round, r), count));
    for (const auto& row : data) sources.push_back(reinterpret_cast<const std::byte*>(row.data()));
    for (const auto how : {reduction::sum, reduction::mean, reduction::product, reduction::min, reduction::max}) {
      std::vector<float> wanted(count), got(count);
      auto* to = reinterpret_cast<std::byte*>(wanted.data());
      combine(element::float32, how, sources, count, {&to, 1});
      const auto islands = islands_of(names);
      std::vector<std::vector<float>> partial;
      std::vector<std::uint32_t> weights;
      for (const auto& i : islands) {
        partial.emplace_back(count);
        weights.push_back(i.size);
        auto* at = reinterpret_cast<std::byte*>(partial.back().data());
        combine(element::float32, how == reduction::mean ? reduction::sum : how,
                std::span(sources).subspan(i.first, i.size), count, {&at, 1});
      }
      std::vector<const std::byte*> branches;
      for (const auto& row : partial) branches.push_back(reinterpret_cast<const std::byte*>(row.data()));
      to = reinterpret_cast<std::byte*>(got.data());
      combine(element::float32, how, branches, count, {&to, 1}, weights);
      CAPTURE(hosts);
      CHECK(std::memcmp(wanted.data(), got.data(), count * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("a gang that spans hosts gives the same bits by each algorithm") {
  const std::vector<layout> spread{
      layout({0, 1, 2, 3}, medium::memory, {0, 0, 1, 1}), layout({0, 0, 1, 1, 1}, medium::memory, {0, 1}),
      layout({0, 1, 2, 3, 4, 5}, medium::stages, {0, 0, 0, 1, 1, 1}), layout({0, 0, 1, 2}, medium::tcp, {0, 0, 1})};
  for (const auto& placement : spread) {
    for (const std::size_t count : {3u, 5'000u, 300'000u}) {
      gang team(placement);
      std::vector<std::vector<float>> by_rank(team.size()), by_ring(team.size());
      const auto results = team.run([&](group& g) -> expected<void> {
        const auto mine = values<float>(g.rank() + count, count);
        std::vector<float> first;
        for (const auto by :
             {algorithm::picked, algorithm::one_shot, algorithm::owner_reduce, algorithm::hierarchical}) {
          auto x = mine;
          call_options options;
          options.by = by;
          if (auto ok = g.all_reduce(std::span(x), reduction::mean, options); !ok) return ok;
          if (first.empty()) first = x;
          if (std::memcmp(first.data(), x.data(), count * sizeof(float)) != 0) {
            return fail(errc::internal, "other bits by another algorithm");
          }
        }
        by_rank[g.rank()] = first;
        // Asked for by name: the same at all ranks; and here all sums are exact, in whatever order.
        auto& ring = by_ring[g.rank()];
        for (std::size_t i = 0; i < count; ++i) ring.push_back(static_cast<float>(i * (g.rank() + 3) % 97));
        auto tree = ring;
        call_options options;
        options.by = algorithm::rotating_ring;
        if (auto ok = g.all_reduce(std::span(ring), reduction::mean, options); !ok) return ok;
        if (auto ok = g.all_reduce(std::span(tree), reduction::mean); !ok) return ok;
        if (ring != tree) return fail(errc::internal, "the ring");
        return g.barrier();
      });
      for (std::uint32_t r = 0; r < team.size(); ++r) {
        INFO(text_of(placement), ": ", results[r] ? "fine" : results[r].error().message());
        REQUIRE(results[r]);
        CHECK(by_rank[r] == by_rank[0]);
        CHECK(by_ring[r] == by_ring[0]);
      }
    }
  }
}
