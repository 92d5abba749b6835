#pragma once
// Frames on control connections: one byte that says which set the message belongs to, then the message in the codec of
// base/bytes.hpp. Both sides are of one build's protocol version (the handshake checks it).

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/comm/secret.hpp>
#include <hydrogen/exec/task.hpp>
#include <hydrogen/gang/messages.hpp>
#include <hydrogen/gpu/device.hpp>

#include <cstdint>
#include <vector>

namespace hydrogen::actors {

enum class frame_kind : std::uint8_t {
  from_job = 1,
  to_job,
  from_agent,
  to_agent,
  from_executor,
  to_executor,
  from_task_host,
  to_task_host,
  status_request,
  status_reply,
  executor_order,  // agent process -> executor process: executor_order
  executor_word,   // executor process -> agent process: executor_word
  drain_request,   // answered by
  drain_reply      // an error, errc::none when it is done
};

/// Nothing new is to begin on this node, or (`on` false) that again.
struct drain_request {
  std::string node;
  bool on = true;
  template <class I>
  friend auto inspect(I& f, drain_request& x) {
    return f(x.node, x.on);
  }
};

/// What an agent tells an executor process besides gang::to_executor.
struct assign_executor {
  gang::application_ref app;
  boot_id boot;
  std::string node;
  comm::secret::key secret{};  // never logged
  std::uint64_t block_budget = 0;
  std::string cache_dir;
  std::string storage_dir;
  std::string log_level;
  duration join_timeout{};
  std::vector<gpu::device_info> gpus;
  std::string listen;  // the address of its node, any port: links of a gang tell hosts apart by it
  template <class I>
  friend auto inspect(I& f, assign_executor& x) {
    return f(x.app, x.boot, x.node, x.secret, x.block_budget, x.cache_dir, x.storage_dir, x.log_level, x.join_timeout,
             x.gpus, x.listen);
  }
};
using executor_order = std::variant<assign_executor>;

struct executor_listening {
  boot_id boot;
  std::string endpoint;
  template <class I>
  friend auto inspect(I& f, executor_listening& x) {
    return f(x.boot, x.endpoint);
  }
};
struct executor_cannot_start {
  boot_id boot;
  gang::refusal_kind kind = gang::refusal_kind::executor;
  error why;
  template <class I>
  friend auto inspect(I& f, executor_cannot_start& x) {
    return f(x.boot, x.kind, x.why);
  }
};
using executor_word = std::variant<executor_listening, executor_cannot_start>;

template <class Message>
byte_buffer make_frame(frame_kind kind, const Message& message) {
  byte_buffer out;
  out.push_back(static_cast<std::byte>(kind));
  encoder(out).put(message);
  return out;
}

inline frame_kind kind_of(byte_view frame) {
  return frame.empty() ? frame_kind{} : static_cast<frame_kind>(frame[0]);
}

template <class Message>
expected<Message> read_frame(byte_view frame) {
  if (frame.empty()) return fail(errc::bad_input, "an empty control frame");
  return decode<Message>(frame.subspan(1), "control message");
}

/// As many messages of one set as a frame of moderate size takes, one behind the other. Starts at `messages[first]`,
/// which moves behind what was taken.
template <class Message>
byte_buffer make_batch_frame(frame_kind kind, const std::vector<Message>& messages, std::size_t& first) {
  constexpr std::size_t enough = 256 << 10;  // bytes; a larger message has a frame of its own
  byte_buffer out;
  out.push_back(static_cast<std::byte>(kind));
  encoder into(out);
  do {
    const auto before = out.size();
    into.put(messages[first]);
    if (before > 1 && out.size() > enough) {
      out.resize(before);
      break;
    }
  } while (++first < messages.size());
  return out;
}

/// All of its messages, at least one. If one cannot be decoded, the frame is refused as a whole.
template <class Message>
expected<std::vector<Message>> read_batch_frame(byte_view frame) {
  if (frame.size() < 2) return fail(errc::bad_input, "an empty control frame");  // one without a message is too
  std::vector<Message> all;
  decoder in(frame.subspan(1));
  while (in.ok() && in.left() > 0) in.get(all.emplace_back());
  if (!in.ok())
    return fail(errc::bad_input, "a batch of messages cannot be decoded", {}, "are both sides of one build?");
  return all;
}

/// What both ends of a message in one process do in debug builds: encode, decode, hand on. So that every message type
/// is known to survive the wire.
template <class Message>
Message through_codec(Message message) {
#ifdef NDEBUG
  return message;
#else
  auto back = decode<Message>(encode(message));
  invariant(back.has_value(), "a control message does not survive its own codec");
  return std::move(*back);
#endif
}

}  // namespace hydrogen::actors
