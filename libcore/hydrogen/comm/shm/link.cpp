#include <hydrogen/comm/shm/link.hpp>
#include <hydrogen/comm/shm/memory_file.hpp>

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>

namespace hydrogen::comm::shm {
namespace {

constexpr char has_memory = 'M';
constexpr char has_no_memory = '-';
constexpr char has_mapped = 'A';
constexpr char has_not_mapped = 'X';

constexpr std::size_t control_size = 4096;
constexpr std::size_t least_ring = 4 << 10;
constexpr std::size_t largest_ring = 64 << 20;
// A look costs no system call, so only what has no place of its own comes here: the padding of one frame, the header of
// the next.
constexpr std::size_t header_staging = 128;
// The end of a process is seen when a rank goes to sleep, and at every so many looks in vain of one that does not.
constexpr std::uint32_t looks_between = 32;

}  // namespace

struct link::control {
  struct alignas(128) side {
    ring_wants wants;
  };
  side sides[2];
  ring_state rings[2];
};

std::size_t link::ring_size_for(std::uint32_t others) {
  constexpr std::size_t of_all = 32 << 20;
  return std::bit_floor(std::clamp<std::size_t>(of_all / std::max<std::uint32_t>(others, 1), 64 << 10, 1 << 20));
}

link::link(unique_fd socket) : stream_link(std::move(socket), header_staging) {}

bool link::use(int file, bool dialled) {
  static_assert(sizeof(control) <= control_size);
  const auto all = size_of_memory_file(file);
  if (all < control_size + 2 * least_ring || all > control_size + 2 * largest_ring) return false;
  const auto size = (all - control_size) / 2;
  if (!std::has_single_bit(size) || control_size + 2 * size != all) return false;
  auto memory = map_memory_file(file, all);
  if (!memory) {
    spdlog::warn("a link to a process of this host uses its socket: {}", memory.error().message());
    return false;
  }
  memory_ = *memory;
  size_ = size;
  auto* shared = reinterpret_cast<control*>(memory_);
  if (dialled) new (shared) control{};
  const int mine = dialled ? 0 : 1;
  const auto ring = [&](int side) { return memory_ + control_size + (side == 0 ? 0 : size); };
  out_ = {shared->rings[mine], ring(mine), size};
  in_ = {shared->rings[1 - mine], ring(1 - mine), size};
  wants_ = &shared->sides[mine].wants;
  bell_ = {&shared->sides[1 - mine].wants, fd()};
  mode_ = mode::in_memory;
  return true;
}

std::unique_ptr<link> link::offer(unique_fd socket, std::size_t ring_size) {
  std::unique_ptr<link> made(new link(std::move(socket)));
  const auto file = make_memory_file("hydrogen-link", control_size + 2 * ring_size);
  if (!file) spdlog::warn("a link to a process of this host uses its socket: {}", file.error().message());
  // The first byte after the handshake: it fits, if the system has room for one more descriptor on its way.
  if (file && made->use(file->get(), true) && hand_over(made->fd(), has_memory, file->get())) {
    made->awaits_answer_ = true;
    return made;
  }
  made->unmap();
  made->mode_ = mode::over_socket;
  ask_for_large_buffers(made->fd());
  (void)hand_over(made->fd(), has_no_memory);
  return made;
}

std::unique_ptr<link> link::accept(unique_fd socket, bool share) {
  std::unique_ptr<link> made(new link(std::move(socket)));
  made->share_ = share;
  // It has come, usually. What is wrong with it is said when the link is used.
  (void)made->take_offer();
  return made;
}

expected<void> link::take_offer() {
  unique_fd file;
  const int byte = take_over(fd(), file);
  if (byte < 0) return {};
  if (byte == 0) return link_has_ended();
  if (byte != has_memory && byte != has_no_memory) return spoil();
  const bool mapped = byte == has_memory && share_ && use(file.get(), false);
  if (!mapped) {
    mode_ = mode::over_socket;
    ask_for_large_buffers(fd());
  }
  // The first byte on this way: it fits.
  if (byte == has_memory) (void)hand_over(fd(), mapped ? has_mapped : has_not_mapped);
  return {};
}

expected<void> link::look_at_socket() {
  char bytes[256];
  // Behind an answer frames may follow.
  const auto n = ::recv(fd(), bytes, awaits_answer_ ? 1 : sizeof bytes, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && is_end_of_socket(errno))) has_ended_ = true;
  if (n <= 0 || !awaits_answer_) return {};
  awaits_answer_ = false;
  if (bytes[0] == has_mapped) return {};
  // Whoever says that it cannot read has not read.
  if (bytes[0] != has_not_mapped || out_.written() > size_) return spoil();
  mode_ = mode::over_socket;
  ask_for_large_buffers(fd());
  unsent_ = out_.written();
  if (unsent_ == 0) unmap();
  return {};
}

unexpected link::spoil() {
  mode_ = mode::broken;
  return fail(errc::bad_input, "the other side of a link in memory sends what makes no sense");
}

expected<void> link::resend() {
  // Nobody has read from the ring: it has all that was ever written, from its beginning.
  const auto all = out_.written();
  while (unsent_ != 0) {
    const iovec rest{memory_ + control_size + (all - unsent_), unsent_};
    const auto n = write_to_socket(fd(), {&rest, 1});
    if (!n) return unexpected(n.error());
    if (*n == 0) return {};
    unsent_ -= *n;
  }
  unmap();
  return {};
}

void link::unmap() {
  if (memory_ == nullptr) return;
  ::munmap(memory_, control_size + 2 * size_);
  memory_ = nullptr;
  wants_ = nullptr;
  unsent_ = 0;
}

expected<void> link::flush() {
  if (unsent_ != 0) {
    if (auto ok = resend(); !ok) return ok;
  }
  return stream_link::flush();
}

expected<std::size_t> link::write(std::span<const iovec> parts) {
  if (mode_ == mode::awaits_offer) {
    if (auto ok = take_offer(); !ok) return unexpected(std::move(ok.error()));
  }
  if (mode_ == mode::broken) return spoil();
  if (mode_ == mode::awaits_offer || unsent_ != 0) return std::size_t{0};
  if (mode_ == mode::over_socket) return write_to_socket(fd(), parts);
  if (has_ended_) return link_has_ended();
  return out_.write(parts, bell_);
}

expected<std::size_t> link::read(std::span<const iovec> parts) {
  if (mode_ == mode::awaits_offer) {
    if (auto ok = take_offer(); !ok) return unexpected(std::move(ok.error()));
    if (mode_ == mode::awaits_offer) return std::size_t{0};
  }
  if (mode_ == mode::broken) return spoil();
  if (mode_ == mode::in_memory) {
    const auto n = in_.read(parts, bell_);
    if (!n || *n != 0) return n;
    if (has_ended_) return link_has_ended();
    // Who waits for the answer looks each time: it says where to look.
    if (!awaits_answer_ && ++looks_ % looks_between != 0) return n;
    if (auto ok = look_at_socket(); !ok) return unexpected(std::move(ok.error()));
    // What was written before the end is there now.
    if (has_ended_) return read(parts);
    if (mode_ == mode::in_memory) return n;
  }
  return read_from_socket(fd(), parts);
}

bool link::ready() const {
  if (memory_ == nullptr || wanted_ == 0) return false;
  if (has_ended_) return true;
  return ((wanted_ & wants_bytes) != 0 && in_.has_bytes()) || ((wanted_ & wants_room) != 0 && out_.has_room());
}

short link::events() const {
  if (mode_ == mode::awaits_offer) return fd() < 0 ? 0 : POLLIN;
  return static_cast<short>(stream_link::events() | (unsent_ != 0 ? POLLOUT : 0));
}

short link::will_sleep(short events) {
  if (mode_ == mode::over_socket || fd() < 0) return events;
  if (mode_ == mode::in_memory) {
    wanted_ = ((events & POLLIN) != 0 ? wants_bytes : 0) | ((events & POLLOUT) != 0 ? wants_room : 0);
    wants_->store(wanted_, std::memory_order_seq_cst);
  }
  // The bell, the offer, the answer, and the end.
  return events != 0 ? POLLIN : 0;
}

void link::awake() {
  if (wanted_ == 0) return;
  wanted_ = 0;
  if (mode_ != mode::in_memory) return;
  wants_->store(0, std::memory_order_seq_cst);
  if (has_ended_) return;
  // What is wrong with an answer is said when the link is used next.
  (void)look_at_socket();
}

void link::close() {
  stream_link::close();
  unmap();
  has_ended_ = true;
}

}  // namespace hydrogen::comm::shm
