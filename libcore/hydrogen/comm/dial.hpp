#pragma once
// Connects to the listener of another process, proves the cluster's secret, and checks that the other side knows it and
// is the process that was meant. Blocking: for slot threads and helper threads, never for CAF workers (they use
// `reactor::connect`). Any thread.
//
// Errors; `where` is always the endpoint:
//   disconnected  nobody listens there, the connection broke, or another process than `mine.to` listens there now
//   refused       the secret is not the same
//   mismatch      another protocol version, or something that is not Hydrogen
//   timed_out     no answer before the deadline
//   bad_input, over_limit   the endpoint or the hello cannot be used
//   the abort word's reason when that is set

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/hello.hpp>
#include <hydrogen/comm/secret.hpp>

#include <string>

namespace hydrogen::comm {

/// How to a listener of this host that is named by its TCP address.
enum class route : std::uint8_t {
  as_written,
  nearest  // over its unix socket (`host_endpoint`), or over TCP if there is none, as behind a tunnel
};

/// A proven socket: non-blocking, close-on-exec, with TCP_NODELAY unless it is one of this host. `mine.to` 0 takes
/// whoever listens.
expected<unique_fd> dial(const std::string& endpoint, const secret& key, const hello& mine, time_point deadline,
                         abort_word* abort = nullptr, route = route::as_written);

/// The same, and who answered: the boot that the listener proved.
struct dialled {
  unique_fd fd;
  boot_id peer;
};
expected<dialled> dial_peer(const std::string& endpoint, const secret& key, const hello& mine, time_point deadline,
                            abort_word* abort = nullptr, route = route::as_written);

}  // namespace hydrogen::comm
