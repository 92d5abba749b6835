#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/peer_group.hpp>
#include <hydrogen/gpu/peers/peer_member.hpp>

#include <spdlog/fmt/fmt.h>

#include <cstring>
#include <limits>
#include <system_error>

namespace hydrogen::gpu {
namespace {

bool can_be_exchanged(element type) {
  return type != element::uint8 && type != element::uint32 && type != element::uint64;
}

bool is_integer(element type) {
  return type == element::int32 || type == element::int64;
}

}  // namespace

expected<void> peer_group::available() {
  auto library = peer_library::get();
  if (!library) return unexpected(std::move(library.error()));
  return {};
}

expected<peer_id> peer_group::make_id() {
  const auto library = peer_library::get();
  if (!library) return unexpected(library.error());
  peer_library::unique_id made{};
  if (const auto said = (*library)->get_unique_id(&made); said != peer_library::result::success) {
    return unexpected((*library)->error_of(said, "ncclGetUniqueId", nullptr));
  }
  peer_id id;
  std::memcpy(id.bytes.data(), made.bytes, sizeof made.bytes);
  return id;
}

expected<std::unique_ptr<peer_group>> peer_group::join(stream& s, const peer_id& id, std::uint32_t rank,
                                                       std::uint32_t size, time_point deadline,
                                                       const abort_word* abort) {
  const auto library = peer_library::get();
  if (!library) return unexpected(library.error());
  constexpr auto most = static_cast<std::uint32_t>(std::numeric_limits<int>::max());
  if (rank >= size || size > most) {
    return fail(errc::bad_input, fmt::format("a group of {} devices has no rank {}", size, rank), s.label());
  }
  if (s.on().info().backend == backend_kind::host && !(*library)->for_virtual_devices) {
    return fail(errc::refused, fmt::format("{} is a virtual device, and NCCL connects GPUs", s.on().description()),
                s.label(), "ranks on virtual devices exchange as those without devices do");
  }
  if (abort != nullptr && abort->is_set()) return unexpected(abort->reason());
  std::unique_ptr<peer_group> made(new peer_group(rank, size));
  made->joined_with_ = s.state_;
  try {
    made->member_ = std::make_shared<peer_member>(**library, s.on_, s.state_, peer_member::identity{id, rank, size});
  } catch (const std::system_error& e) {
    return fail(errc::io, fmt::format("a thread for a group of devices: {}", e.what()), s.label());
  }
  if (auto joined = made->member_->joined(deadline, abort); !joined) {
    auto why = std::move(joined.error());
    if (why.where.empty()) why.where = s.label();
    return unexpected(std::move(why));
  }
  if (abort != nullptr) {
    // Registered only to be told, so const as far as the word's meaning goes.
    made->on_abort_ = const_cast<abort_word*>(abort)->on_abort([g = made.get()] { g->abort(); });
  }
  return made;
}

peer_group::~peer_group() = default;

void peer_group::abort() {
  member_->abort({errc::aborted, "the group of devices was ended while it exchanged", {}, {}});
}

void peer_group::enqueue(stream& s, work::reduction how, const kernels::operand& x) {
  const kernels::checker check(work::all_reduce::name.data(), s);
  if (s.state_ != joined_with_) check.refuse("the group was joined with another stream");
  if (s.state_->capture) check.refuse("the stream is recording; an exchange of devices cannot be recorded");
  if (!can_be_exchanged(x.type)) check.refuse(fmt::format("{} is of {}", x.name, to_string(x.type)));
  if (how == work::reduction::mean && is_integer(x.type)) {
    check.refuse(fmt::format("a mean of {}; only of floating-point numbers", to_string(x.type)));
  }
  check.here({x});
  if (x.n == 0) return;
  if (x.owner->kind() != memory_kind::device) check.refuse(fmt::format("{} is in pinned memory", x.name));
  s.enqueue(work::all_reduce{member_, x.at, x.type, how, x.n}, {x.owner}, {x.owner});
  // Others wait for it, though here nobody may.
  s.state_->queue->want(s.state_->submitted);
}

}  // namespace hydrogen::gpu
