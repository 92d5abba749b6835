#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/endpoint.hpp>
#include <hydrogen/comm/shm/memory_file.hpp>
#include <hydrogen/comm/shm/neighbours.hpp>

#include <poll.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace hydrogen::comm::shm {
namespace {

constexpr char has_segment = 'S';
constexpr char has_none = '-';
constexpr char has_attached = 'A';
constexpr char cannot_map = 'X';
constexpr auto turn_looks = std::chrono::milliseconds(20);  // at the abort word, of a rank that waits for its turn

/// Gives the turn to ask back.
struct held_turn {
  std::atomic<std::uint32_t>& word;
  ~held_turn() {
    word.store(0, std::memory_order_release);
    futex_wake_all(word);
  }
};

}  // namespace

neighbours::neighbours(const secret& key, bool share, const tuning& table, lost_handler lost)
    : key_(key), share_(share), table_(table), lost_(std::move(lost)) {}

neighbours::~neighbours() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  news_.set();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<segment> neighbours::own() {
  if (!share_) return nullptr;
  std::lock_guard lock(making_);
  if (!made_) {
    made_ = true;
    auto fresh = segment::make(table_);
    if (fresh) {
      own_ = std::move(*fresh);
    } else {
      spdlog::warn("gangs of this host use links: {}", fresh.error().message());
    }
  }
  return own_;
}

void neighbours::accepted(unique_fd socket, const hello& from) {
  const auto mine = own();
  const bool told = mine ? hand_over(socket.get(), has_segment, mine->file()) : hand_over(socket.get(), has_none);
  if (told && mine) watch(std::move(socket), from.from, false);
}

std::shared_ptr<segment> neighbours::attached(boot_id owner) {
  std::lock_guard lock(mutex_);
  const auto at = attached_.find(owner);
  return at == attached_.end() ? nullptr : at->second;
}

expected<std::shared_ptr<segment>> neighbours::attach(const std::string& endpoint, boot_id owner, boot_id self,
                                                      abort_word& abort, time_point deadline) {
  std::shared_ptr<std::atomic<std::uint32_t>> turn;
  {
    std::lock_guard lock(mutex_);
    if (const auto at = attached_.find(owner); at != attached_.end()) return at->second;
    auto& place = asking_[owner];
    if (!place) place = std::make_shared<std::atomic<std::uint32_t>>(0);
    turn = place;
  }
  while (turn->exchange(1, std::memory_order_acquire) != 0) {
    // Another rank asks, with a deadline of its own.
    if (abort.is_set()) return unexpected(abort.reason());
    if (now() >= deadline) return fail(errc::timed_out, "no answer in time (shared memory)", endpoint);
    futex_wait(*turn, 1, std::min(deadline, now() + turn_looks));
  }
  const held_turn mine{*turn};
  {
    std::lock_guard lock(mutex_);
    if (const auto at = attached_.find(owner); at != attached_.end()) return at->second;
  }
  unique_fd socket;
  auto made = ask(endpoint, owner, self, abort, deadline, socket);
  if (!made) return made;
  {
    std::lock_guard lock(mutex_);
    attached_[owner] = *made;
  }
  if (*made) watch(std::move(socket), owner, true);
  return made;
}

expected<std::shared_ptr<segment>> neighbours::ask(const std::string& endpoint, boot_id owner, boot_id self,
                                                   abort_word& abort, time_point deadline, unique_fd& socket) {
  hello mine;
  mine.purpose = link_purpose::memory;
  mine.from = self;
  mine.to = owner;
  mine.who = "neighbour " + to_string(self);
  auto dialled = dial(host_endpoint(endpoint), key_, mine, deadline, &abort);
  if (!dialled) return unexpected(std::move(dialled.error()));
  socket = std::move(*dialled);
  auto came = fd_waiter(&abort).wait(socket.get(), POLLIN, deadline);
  if (!came) return unexpected(std::move(came.error()));
  if (*came == 0)
    return fail(errc::timed_out, "no answer in time (shared memory)", endpoint, "does that process hang?");
  unique_fd file;
  switch (take_over(socket.get(), file)) {
    case has_none:
      return std::shared_ptr<segment>();
    case has_segment: {
      auto made = segment::attach(std::move(file));
      const char answer = made ? has_attached : cannot_map;
      // The second byte ever on this socket: it fits.
      (void)::send(socket.get(), &answer, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (made) return made;
      spdlog::warn("gangs with the neighbour at {} use links from now on: {}", endpoint, made.error().message());
      // The owner tells the others; this attempt is over.
      std::lock_guard lock(mutex_);
      attached_[owner] = nullptr;
      return made;
    }
    default:
      return fail(errc::disconnected, "the process closed the connection before it shared its memory", endpoint);
  }
}

void neighbours::watch(unique_fd socket, boot_id who, bool attached) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  arriving_.push_back({std::move(socket), who, attached});
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  news_.set();
}

void neighbours::run() {
  pthread_setname_np(pthread_self(), "hy-neighbours");
  std::vector<watched> all;
  std::vector<pollfd> set;
  for (;;) {
    set.clear();
    set.push_back({news_.get(), POLLIN, 0});
    for (const auto& w : all) set.push_back({w.socket.get(), POLLIN | POLLRDHUP, 0});
    if (::poll(set.data(), set.size(), -1) < 0 && errno != EINTR) broken_invariant("poll of neighbours failed");
    std::vector<boot_id> gone, apart;
    for (std::size_t i = all.size(); i-- > 0;) {
      if (set[i + 1].revents == 0) continue;
      char byte = 0;
      const bool said = ::recv(all[i].socket.get(), &byte, 1, MSG_DONTWAIT) == 1;
      if (said && byte == has_attached && !all[i].attached) {
        all[i].attached = true;
        continue;
      }
      // Nobody sends anything more: whatever comes is the end.
      if (said && byte == cannot_map && !all[i].attached) {
        apart.push_back(all[i].who);
      } else if (all[i].attached) {
        gone.push_back(all[i].who);
      }
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
    }
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (set[0].revents != 0) news_.clear();
      for (auto& w : arriving_) all.push_back(std::move(w));
      arriving_.clear();
      for (const auto who : gone) {
        attached_.erase(who);
        asking_.erase(who);
      }
    }
    if (!apart.empty()) own()->close();
    for (const auto who : apart) {
      spdlog::warn("new gangs of this host led by this process use links: process {} cannot map its memory",
                   to_string(who));
      lost_(who,
            {errc::disconnected, "cannot map the shared memory of this gang; the next attempt uses links", {}, {}});
    }
    for (const auto who : gone) lost_(who, {errc::none, {}, {}, {}});
  }
}

}  // namespace hydrogen::comm::shm
