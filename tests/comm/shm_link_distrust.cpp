// Links through shared memory with a side that does not do as it should, or does it late, played by the test.
#include <hydrogen/comm/shm/memory_file.hpp>

#include "gang.hpp"
#include "shm_ends.hpp"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::content_of;
using testing::end_by_looking;
using testing::end_of_link;
using testing::header_of;
using testing::small_ring;
using testing::socket_pair;

namespace {

constexpr std::size_t file_of_small_rings = 4096 + 2 * small_ring;
constexpr std::size_t ring_0 = 256, ring_1 = 512;  // where their counters are in the file: written; read 128 further

/// The far side of a link, by hand.
struct played_side {
  unique_fd socket;
  unique_fd file;
  std::byte* memory = nullptr;
  std::size_t size = 0;

  explicit played_side(unique_fd s) : socket(std::move(s)) {}
  ~played_side() {
    if (memory != nullptr) ::munmap(memory, size);
  }
  void make(std::size_t bytes) {
    file = value_or_throw(shm::make_memory_file("test", bytes));
    map();
  }
  void map() {
    size = shm::size_of_memory_file(file.get());
    memory = value_or_throw(shm::map_memory_file(file.get(), size));
  }
  std::atomic<std::uint64_t>& number_at(std::size_t place) {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(memory + place);
  }
  char hear() {
    char byte = 0;
    return ::recv(socket.get(), &byte, 1, MSG_DONTWAIT) == 1 ? byte : '\0';
  }
  void write(std::uint64_t number, std::size_t bytes) {
    frame_prefix prefix;
    encode_frame(header_of(number, bytes), prefix);
    auto all = content_of(number, bytes);
    all.insert(all.begin(), prefix.bytes.begin(), prefix.bytes.end());
    all.resize(all.size() + frame_padding(bytes));
    REQUIRE(::send(socket.get(), all.data(), all.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(all.size()));
  }
};

}  // namespace

TEST_CASE("a file that cannot be trusted is not mapped, and the socket carries the frames") {
  const auto unsealed = [](std::size_t size) {
    unique_fd file(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    REQUIRE(ftruncate(file.get(), static_cast<off_t>(size)) == 0);
    return file;
  };
  const auto sealed = [](std::size_t size) { return value_or_throw(shm::make_memory_file("test", size)); };
  int ends_of_pipe[2];
  REQUIRE(::pipe(ends_of_pipe) == 0);
  const unique_fd write_end(ends_of_pipe[1]);
  std::vector<std::pair<const char*, unique_fd>> files;
  files.emplace_back("not sealed", unsealed(file_of_small_rings));
  files.emplace_back("too small", sealed(4096));
  files.emplace_back("empty", sealed(0));
  files.emplace_back("an odd size", sealed(file_of_small_rings + 8));
  files.emplace_back("rings of no power of two", sealed(4096 + 6 * small_ring));
  files.emplace_back("far too large", sealed(std::size_t{1} << 40));
  files.emplace_back("no memory file", unique_fd(ends_of_pipe[0]));
  files.emplace_back("no descriptor", unique_fd());
  files.emplace_back("one that cannot be mapped to write", unsealed(file_of_small_rings));
  REQUIRE(fcntl(files.back().second.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
  for (const auto& [name, file] : files) {
    CAPTURE(name);
    socket_pair p;
    played_side far(std::move(p.second));
    REQUIRE(shm::hand_over(far.socket.get(), 'M', file.get()));
    end_of_link near(shm::link::accept(std::move(p.first)));
    CHECK(far.hear() == 'X');
    CHECK(near.over->medium() == link_medium::socket);
    far.write(0, 1000);
    REQUIRE(near.step());
    CHECK(near.arrived == 1);
  }
  // None is offered: there is no answer.
  socket_pair p;
  played_side far(std::move(p.second));
  REQUIRE(shm::hand_over(far.socket.get(), '-'));
  end_of_link near(shm::link::accept(std::move(p.first)));
  CHECK(far.hear() == '\0');
  far.write(0, 1000);
  REQUIRE(near.step());
  CHECK(near.arrived == 1);
}

TEST_CASE("an offer may come late, in pieces of nothing, or never") {
  socket_pair p;
  played_side far(std::move(p.second));
  end_of_link near(shm::link::accept(std::move(p.first)));
  near.send(0, 10);
  REQUIRE(near.step());
  CHECK_FALSE(near.over->idle());
  CHECK(near.over->events() == POLLIN);
  far.make(file_of_small_rings);
  REQUIRE(shm::hand_over(far.socket.get(), 'M', far.file.get()));
  CHECK(near.sleep());
  REQUIRE(near.step());
  CHECK(near.over->idle());
  CHECK(far.hear() == 'A');
  CHECK(far.number_at(ring_1) == frame_prefix_size + 16);
  far.socket.reset();
  CHECK(end_by_looking(near).code == errc::disconnected);

  socket_pair q;
  q.second.reset();
  end_of_link alone(shm::link::accept(std::move(q.first)));
  CHECK(end_by_looking(alone).code == errc::disconnected);
}

TEST_CASE("an answer is heard while a frame is held, so that its byte wakes nobody twice") {
  socket_pair p;
  end_of_link near(shm::link::offer(std::move(p.first), small_ring));
  played_side far(std::move(p.second));
  REQUIRE(shm::take_over(far.socket.get(), far.file) == 'M');
  far.map();
  frame_prefix prefix;
  encode_frame(header_of(0, 0), prefix);
  std::memcpy(far.memory + 4096 + small_ring, prefix.bytes.data(), frame_prefix_size);
  far.number_at(ring_1) = frame_prefix_size;
  near.hold = 0;
  near.send(0, 2 * small_ring);
  REQUIRE(near.step());
  REQUIRE(shm::hand_over(far.socket.get(), 'A'));
  CHECK(near.sleep());
  REQUIRE(near.step());
  pollfd set{near.over->fd(), near.over->will_sleep(near.over->events()), 0};
  CHECK_FALSE(near.over->ready());
  CHECK(::poll(&set, 1, 0) == 0);
}

TEST_CASE("an offer and an answer without sense end the link") {
  socket_pair p;
  played_side far(std::move(p.second));
  REQUIRE(shm::hand_over(far.socket.get(), '?'));
  end_of_link near(shm::link::accept(std::move(p.first)));
  near.send(0, 10);
  CHECK_FALSE(near.step());

  socket_pair q;
  played_side other(std::move(q.second));
  end_of_link dialler(shm::link::offer(std::move(q.first), small_ring));
  REQUIRE(shm::hand_over(other.socket.get(), '?'));
  CHECK(end_by_looking(dialler).code == errc::bad_input);
}

TEST_CASE("counters that cannot be end the link, and nothing outside the ring is touched") {
  const std::uint64_t impossible[] = {small_ring + 1, std::uint64_t{1} << 40, ~std::uint64_t{0}};
  for (const auto number : impossible) {
    CAPTURE(number);
    {
      // What the other side says that it has written.
      socket_pair p;
      played_side far(std::move(p.second));
      far.make(file_of_small_rings);
      REQUIRE(shm::hand_over(far.socket.get(), 'M', far.file.get()));
      end_of_link near(shm::link::accept(std::move(p.first)));
      far.number_at(ring_0) = number;
      const auto why = end_by_looking(near);
      CHECK(why.code == errc::bad_input);
      CHECK(why.what.find("the ring") != std::string::npos);
    }
    {
      // What it says that it has read, of a ring that fills up.
      socket_pair p;
      end_of_link near(shm::link::offer(std::move(p.first), small_ring));
      played_side far(std::move(p.second));
      REQUIRE(shm::take_over(far.socket.get(), far.file) == 'M');
      far.map();
      REQUIRE(shm::hand_over(far.socket.get(), 'A'));
      far.number_at(ring_0 + 128) = number;
      near.send(0, 10 * small_ring);
      CHECK(end_by_looking(near).code == errc::bad_input);
    }
    {
      // Read, and yet not mapped.
      socket_pair p;
      end_of_link near(shm::link::offer(std::move(p.first), small_ring));
      played_side far(std::move(p.second));
      REQUIRE(shm::take_over(far.socket.get(), far.file) == 'M');
      far.map();
      near.send(0, 2 * small_ring);
      REQUIRE(near.step());
      far.number_at(ring_0 + 128) = small_ring;
      REQUIRE(near.step());
      REQUIRE(shm::hand_over(far.socket.get(), 'X'));
      CHECK(end_by_looking(near).code == errc::bad_input);
    }
  }
}

TEST_CASE("bytes in a ring that are no frame end the link") {
  socket_pair p;
  played_side far(std::move(p.second));
  far.make(file_of_small_rings);
  REQUIRE(shm::hand_over(far.socket.get(), 'M', far.file.get()));
  end_of_link near(shm::link::accept(std::move(p.first)));
  std::memset(far.memory + 4096, 0x5a, small_ring);
  far.number_at(ring_0) = small_ring;
  CHECK(end_by_looking(near).code == errc::bad_input);
}

TEST_CASE(
    "a rank that has heard a handshake, and gets the offer later, says that it is here while it waits for others") {
  testing::gang team(testing::layout({0, 1, 2}, testing::medium::links));
  expected<std::unique_ptr<group>> result;
  std::thread rank([&] { result = team.join(0, 60s); });
  socket_pair p;
  played_side far(std::move(p.second));
  hello h;
  h.purpose = link_purpose::gang;
  h.from = team.members[1].executor;
  h.token = encode(link_token{team.token, 1, 0});
  team.process_of(0).meet->accepted(std::move(p.first), h);
  // Taken, and nothing offered yet.
  const auto deadline = now() + 50s;
  while (team.process_of(0).meet->parked() != 0 && now() < deadline) std::this_thread::yield();
  far.make(file_of_small_rings);
  CHECK(shm::hand_over(far.socket.get(), 'M', far.file.get()));
  while (far.number_at(ring_1) == 0 && now() < deadline) std::this_thread::yield();
  CHECK(far.number_at(ring_1) > frame_prefix_size);
  team.aborts[0]->set({errc::aborted, "enough", {}, {}});
  rank.join();
  CHECK_FALSE(result);
}
