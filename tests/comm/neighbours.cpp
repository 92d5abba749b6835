// Attaching to the memory of a process that does not do as it should: it hands over more than it was asked for, or
// nothing at all.
#include <hydrogen/comm/shm/neighbours.hpp>

#include "rank_process.hpp"
#include "wire_support.hpp"
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

namespace {

using segment_result = expected<std::shared_ptr<shm::segment>>;

struct proven_socket {
  unique_fd fd;
  hello said;
};

/// A process that others dial for its memory, and of which a test decides what it answers.
struct memory_owner {
  const secret key = secret::random();
  const boot_id boot = make_boot_id();
  box<proven_socket> dialled;
  std::unique_ptr<acceptor> listener =
      value_or_throw(acceptor::listen("127.0.0.1:0", key, boot, [this](unique_fd fd, hello h) {
        dialled.put({std::move(fd), std::move(h)});
      }));
};

/// A process that attaches.
struct memory_user {
  explicit memory_user(const memory_owner& o) : owner(o) {}
  const memory_owner& owner;
  const boot_id boot = make_boot_id();
  shm::neighbours here{owner.key, false, {}, [](const auto&...) {}};

  segment_result attach(abort_word& abort, time_point deadline) {
    return here.attach(owner.listener->endpoint(), owner.boot, boot, abort, deadline);
  }
};

/// The byte of the protocol with these descriptors.
bool hand_over_all(int socket, char byte, const std::vector<int>& files) {
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!files.empty()) {
    const auto size = files.size() * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(size);
    auto* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(rights), files.data(), size);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

/// A rank that waits to attach, on a thread of its own.
class attaching_rank {
 public:
  attaching_rank(memory_user& by, time_point deadline)
      : thread_([this, &by, deadline] {
          thread_number_ = ::gettid();
          result_ = by.attach(abort, deadline);
          is_back_ = true;
        }) {}
  ~attaching_rank() {
    abort.set({errc::aborted, "the test is over", {}, {}});
    if (thread_.joinable()) thread_.join();
  }
  /// Until it does not run.
  void await_asleep() const {
    for (std::string name, state; state != "S"; std::this_thread::yield()) {
      if (thread_number_ == 0) continue;
      std::ifstream about("/proc/self/task/" + std::to_string(thread_number_) + "/stat");
      about >> name >> name >> state;
    }
  }
  bool is_back() const { return is_back_; }
  segment_result result() {
    thread_.join();
    return std::move(result_);
  }
  abort_word abort;

 private:
  std::atomic<pid_t> thread_number_{0};
  std::atomic<bool> is_back_{false};
  segment_result result_;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace

TEST_CASE("descriptors beyond the one that was meant are closed, whatever comes with them") {
  const auto segment = value_or_throw(shm::segment::make());
  const unique_fd other(memfd_create("other", MFD_CLOEXEC));
  REQUIRE(other);
  const int good = segment->file(), bad = other.get();
  struct offer_of_files {
    char byte;
    std::vector<int> files;
    bool is_taken;  // as memory
  };
  const std::vector<offer_of_files> offers{{'S', {good}, true},
                                           {'S', {good, bad}, true},
                                           {'S', {good, good, bad}, true},
                                           {'S', {bad, good}, false},
                                           {'S', {}, false},
                                           {'-', {}, false},
                                           {'-', {good}, false},
                                           {'-', {bad, good}, false},
                                           {'?', {good, bad}, false},
                                           {'S', std::vector<int>(16, good), true}};
  for (const auto& o : offers) {
    INFO("'", std::string(1, o.byte), "' with ", o.files.size(), " descriptors");
    const auto before = testing::entries_of("/proc/self/fd");
    {
      memory_owner owner;
      memory_user user(owner);
      attaching_rank rank(user, now() + ample);
      const auto socket = owner.dialled.take();
      REQUIRE(socket);
      REQUIRE(hand_over_all(socket->fd.get(), o.byte, o.files));
      const auto attached = rank.result();
      CHECK((attached && *attached) == o.is_taken);
      // No memory is an answer, too.
      CHECK((attached || o.byte != '-'));
    }
    CHECK(testing::entries_of("/proc/self/fd") == before);
  }
}

TEST_CASE("a rank that waits for its turn to attach returns at its abort and its deadline while another hangs in it") {
  memory_owner owner;
  memory_user user(owner);
  attaching_rank first(user, now() + ample);
  const auto hanging = owner.dialled.take();
  REQUIRE(hanging);

  abort_word calm;
  const auto late = user.attach(calm, now() + 50ms);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::timed_out);
  CHECK(late.error().where == owner.listener->endpoint());

  attaching_rank second(user, now() + ample);
  second.await_asleep();
  CHECK_FALSE(second.is_back());
  second.abort.set({errc::cancelled, "stop waiting", {}, {}});
  const auto stopped = second.result();
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code == errc::cancelled);
  CHECK(stopped.error().what == "stop waiting");

  // They have not taken its place, nor asked beside it.
  CHECK_FALSE(first.is_back());
  CHECK(owner.dialled.size() == 0);
}

TEST_CASE("when a rank gives up attaching, the one that waits behind it asks for itself") {
  memory_owner owner;
  memory_user user(owner);
  attaching_rank first(user, now() + ample);
  const auto hanging = owner.dialled.take();
  REQUIRE(hanging);
  attaching_rank second(user, now() + ample);
  second.await_asleep();
  first.abort.set({errc::cancelled, "enough", {}, {}});
  const auto given_up = first.result();
  REQUIRE_FALSE(given_up);
  CHECK(given_up.error().what == "enough");

  auto asked = owner.dialled.take();
  REQUIRE(asked);
  shm::neighbours sharing(owner.key, true, {}, [](const auto&...) {});
  sharing.accepted(std::move(asked->fd), asked->said);
  const auto attached = second.result();
  REQUIRE(attached);
  CHECK(*attached);
  // From now on nobody asks.
  abort_word calm;
  CHECK(value_or_throw(user.attach(calm, now() + ample)) == *attached);
  CHECK(owner.dialled.size() == 0);
}
