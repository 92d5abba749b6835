#include <hydrogen/comm/tcp/link.hpp>

namespace hydrogen::comm::tcp {
namespace {

constexpr std::size_t staging_size = 8192;  // a read is a system call: small frames come several at a time

}  // namespace

link::link(unique_fd socket) : stream_link(std::move(socket), staging_size) {
  ask_for_large_buffers(fd());
}

}  // namespace hydrogen::comm::tcp
