#pragma once
// A TCP connection point that passes bytes on to another one, each a fixed time after it came: a link with latency, on
// one machine. Main thread; it works on a thread of its own.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>

#include <memory>
#include <string>

namespace hydrogen::bench {

class delayed_link {
 public:
  /// Whoever connects to `endpoint()` talks to `target` ("127.0.0.1:port"), with `delay` each way.
  static expected<std::unique_ptr<delayed_link>> make(const std::string& target, duration delay);
  virtual ~delayed_link() = default;
  virtual std::string endpoint() const = 0;
};

}  // namespace hydrogen::bench
