#include <hydrogen/comm/reactor.hpp>
#include <hydrogen/comm/reactor_loop.hpp>

#include <pthread.h>

namespace hydrogen::comm {

reactor::reactor()
    : loop_(std::make_shared<reactor_loop>()),
      thread_([loop = loop_.get()] {
        pthread_setname_np(pthread_self(), "hy-reactor");
        loop->run();
      }),
      dials_(std::make_unique<dial_pool>()) {}

reactor::~reactor() {
  // First the dials: their handlers may still adopt.
  dials_.reset();
  loop_->stop();
  thread_.join();
}

connection_ptr reactor::adopt(unique_fd fd, hello peer, connection_handlers handlers, connection_options options) {
  return loop_->adopt(std::move(fd), std::move(peer), std::move(handlers), options);
}

void reactor::connect(std::string endpoint, const secret& key, hello mine, time_point deadline,
                      std::function<void(expected<unique_fd>)> done) {
  dials_->connect(std::move(endpoint), key, std::move(mine), deadline, std::move(done));
}

void reactor::around_rounds(round_wrapper wrapper) {
  loop_->around_rounds(std::move(wrapper));
}

std::size_t reactor::size() const {
  return loop_->size();
}

}  // namespace hydrogen::comm
