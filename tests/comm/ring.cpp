#include <hydrogen/base/random.hpp>
#include <hydrogen/comm/collective/rotating_ring.hpp>

#include "reference.hpp"
#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <memory>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

/// Members of one call in one thread. Frames of a pair come in their order, those of different pairs in any. A payload
/// is read when it arrives, as late as a link may.
class loopback {
 public:
  struct frame {
    frame_header header;
    byte_view payload;
  };

  class member final : public exchange_port {
   public:
    member(loopback& net, std::uint32_t self) : net_(net), self_(self) {}
    std::uint32_t rank() const override { return self_; }
    std::uint32_t size() const override { return static_cast<std::uint32_t>(net_.members_.size()); }
    void send(std::uint32_t to, frame_header h, byte_view payload, bool) override {
      net_.between(self_, to).push_back({h, payload});
      ++sent_frames;
      sent_bytes += payload.size();
    }
    std::byte* scratch(std::size_t size) override {
      scratch_.resize(size);
      return scratch_.data();
    }
    void combine(element kind, reduction how, std::span<const std::byte* const> sources, std::size_t count,
                 std::byte* destination, std::span<const std::uint32_t> weights) override {
      comm::combine(kind, how, sources, count, {&destination, 1}, weights);
    }

    std::unique_ptr<exchange> call;
    std::uint64_t sent_frames = 0;
    std::uint64_t sent_bytes = 0;
    std::size_t scratch_bytes() const { return scratch_.size(); }

   private:
    loopback& net_;
    std::uint32_t self_;
    byte_buffer scratch_;
  };

  explicit loopback(std::uint32_t members) : links_(members * members) {
    for (std::uint32_t r = 0; r < members; ++r) members_.push_back(std::make_unique<member>(*this, r));
  }
  member& operator[](std::uint32_t r) { return *members_[r]; }
  std::deque<frame>& between(std::uint32_t from, std::uint32_t to) { return links_[from * members_.size() + to]; }

  /// Delivers everything, the next link drawn at random.
  void run(std::uint64_t seed) {
    random_source random(seed);
    for (auto& m : members_) m->call->start(*m);
    std::vector<std::size_t> busy;
    for (;;) {
      busy.clear();
      for (std::size_t i = 0; i < links_.size(); ++i) {
        if (!links_[i].empty()) busy.push_back(i);
      }
      if (busy.empty()) break;
      const auto link = busy[random.below(busy.size())];
      deliver(static_cast<std::uint32_t>(link / members_.size()), static_cast<std::uint32_t>(link % members_.size()));
    }
    for (std::uint32_t r = 0; r < members_.size(); ++r) {
      for (std::uint32_t other = 0; other < members_.size(); ++other) {
        if (other != r) REQUIRE(members_[r]->call->has_all_of(other));
      }
    }
  }

 private:
  void deliver(std::uint32_t from, std::uint32_t to) {
    const auto f = between(from, to).front();
    between(from, to).pop_front();
    REQUIRE(f.header.length == f.payload.size());
    auto& m = *members_[to];
    REQUIRE(!m.call->has_all_of(from));
    const auto place = m.call->place(from, f.header);
    REQUIRE(place);
    REQUIRE(place->size() == f.payload.size());
    if (!place->empty()) std::memcpy(place->data(), f.payload.data(), f.payload.size());
    m.call->arrived(from, f.header, m);
  }

  std::vector<std::unique_ptr<member>> members_;
  std::vector<std::deque<frame>> links_;
};

template <class T>
std::byte* bytes_of(std::vector<T>& x) {
  return reinterpret_cast<std::byte*>(x.data());
}

/// The order that the header documents, one share after the other.
template <class T>
std::vector<T> rotated(const std::vector<std::vector<T>>& all, reduction how) {
  using W = testing::wide<T>;
  const auto members = static_cast<std::uint32_t>(all.size());
  std::vector<T> out(all[0].size());
  for (std::uint32_t owner = 0; owner < members; ++owner) {
    const auto part = share_of(out.size(), owner, members);
    for (std::size_t i = part.begin; i < part.begin + part.count; ++i) {
      std::vector<std::vector<T>> pair{{all[(owner + 1) % members][i]}, {}};
      for (std::uint32_t step = 2; step <= members; ++step) {
        pair[1] = {all[(owner + step) % members][i]};
        pair[0] = testing::reduced(pair, how == reduction::mean ? reduction::sum : how);
      }
      out[i] =
          how == reduction::mean ? static_cast<T>(static_cast<W>(pair[0][0]) / static_cast<W>(members)) : pair[0][0];
    }
  }
  return out;
}

/// What the members get; all of them the same bits.
template <class T>
std::vector<T> through_the_ring(std::vector<std::vector<T>> data, reduction how, std::uint64_t seed) {
  loopback net(static_cast<std::uint32_t>(data.size()));
  for (std::uint32_t r = 0; r < data.size(); ++r) {
    net[r].call = std::make_unique<rotating_ring>(element_of<T>, how, bytes_of(data[r]), data[r].size());
  }
  net.run(seed);
  for (auto& x : data) REQUIRE(testing::same_bits(x, data[0]));
  return data[0];
}

template <class T>
void check_all(std::initializer_list<reduction> reductions) {
  for (const auto how : reductions) {
    for (std::uint32_t members = 2; members <= 9; ++members) {
      for (const std::size_t count : {0u, 1u, 5u, 8u, 1001u}) {
        std::vector<std::vector<T>> data;
        for (std::uint32_t r = 0; r < members; ++r) data.push_back(testing::values<T>(hash_mix(count, r), count));
        CAPTURE(to_string(how));
        CAPTURE(members);
        CAPTURE(count);
        const auto got = through_the_ring(data, how, hash_mix(members, count));
        REQUIRE(testing::same_bits(got, rotated(data, how)));
        const auto tree = testing::reduced(data, how);
        if (std::is_integral_v<T> || how == reduction::min || how == reduction::max) REQUIRE(got == tree);
        if constexpr (std::is_same_v<T, double>) {
          if (how != reduction::sum && how != reduction::mean) continue;
          for (std::size_t i = 0; i < count; ++i) {
            double size = 0;
            for (const auto& x : data) size += std::abs(x[i]);
            REQUIRE(std::abs(got[i] - tree[i]) <= 1e-14 * size);
          }
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("a ring adds in the order that rotates with the share, and gives everyone the same bits") {
  using enum reduction;
  check_all<float>({sum, min, max, mean, product});
  check_all<double>({sum, min, max, mean, product});
  check_all<std::int64_t>({sum, min, max, product});
  check_all<std::int32_t>({sum, min, max, product});
  check_all<half>({sum, min, max, mean, product});
  check_all<bfloat16>({sum, min, max, mean, product});
}

TEST_CASE("shares of several pieces go round, and a member keeps one piece of others") {
  for (const std::uint32_t members : {2u, 3u, 4u}) {
    // Some shares have a piece more than others.
    const std::size_t count = members * (3 * (256 << 10) / sizeof(float)) + 1;
    std::vector<std::vector<float>> data;
    for (std::uint32_t r = 0; r < members; ++r) data.push_back(testing::values<float>(r, count));
    const auto wanted = rotated(data, reduction::sum);
    loopback net(members);
    for (std::uint32_t r = 0; r < members; ++r) {
      net[r].call =
          std::make_unique<rotating_ring>(element::float32, reduction::sum, bytes_of(data[r]), data[r].size());
    }
    net.run(members);
    std::uint64_t bytes = 0;
    for (std::uint32_t r = 0; r < members; ++r) {
      CHECK(testing::same_bits(data[r], wanted));
      CHECK(net[r].scratch_bytes() == 256 << 10);
      bytes += net[r].sent_bytes;
    }
    CHECK(bytes == 2 * (members - 1) * count * sizeof(float));
  }
}

TEST_CASE("a ring refuses frames that are not the next one") {
  std::vector<std::int32_t> mine(10, 1);
  loopback net(3);
  // Member 1 of 3: 0 is on its left, 2 on its right.
  auto& m = net[1];
  rotating_ring ring(element::int32, reduction::sum, bytes_of(mine), mine.size());
  ring.start(m);
  // Shares begin at 0, 3 and 6: first comes share 2, then 1.
  frame_header piece;
  piece.offset = 24;
  piece.length = 16;
  piece.total = 40;
  piece.code = static_cast<std::uint8_t>(element::int32);
  frame_header greeting;
  greeting.phase = 2;
  greeting.total = 40;
  greeting.code = piece.code;
  const auto refuses = [&](std::uint32_t from, frame_header h) {
    const auto place = ring.place(from, h);
    return !place && place.error().code == errc::bad_input;
  };
  const auto changed = [](frame_header h, auto change) {
    change(h);
    return h;
  };
  CHECK(refuses(0, greeting));
  CHECK(refuses(2, piece));
  CHECK(refuses(2, changed(greeting, [](auto& h) { h.length = 8; })));
  CHECK(refuses(2, changed(greeting, [](auto& h) { h.total = 80; })));
  CHECK(refuses(2, changed(greeting, [](auto& h) { h.code = 1; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.offset = 12; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.offset = ~std::uint64_t{0}; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.length = 20; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.length = 0; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.total = 44; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.chunk = 1; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.code = 1; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.phase = 1; })));
  CHECK(refuses(0, changed(piece, [](auto& h) { h.phase = 7; })));

  CHECK(!ring.has_all_of(2));
  REQUIRE(ring.place(2, greeting));
  ring.arrived(2, greeting, m);
  CHECK(ring.has_all_of(2));
  CHECK(refuses(2, greeting));
  CHECK(refuses(2, piece));

  const auto take = [&](std::size_t offset, std::size_t length, std::uint16_t phase) {
    auto h = piece;
    h.offset = offset;
    h.length = length;
    h.phase = phase;
    auto place = ring.place(0, h);
    REQUIRE(place);
    REQUIRE(place->size() == length);
    std::memset(place->data(), 0, length);
    ring.arrived(0, h, m);
    CHECK(refuses(0, h));
  };
  take(24, 16, 0);
  take(12, 12, 0);
  CHECK(!ring.has_all_of(0));
  take(0, 12, 1);
  take(24, 16, 1);
  CHECK(ring.has_all_of(0));
}
