#pragma once
// Memory files that processes of one host share: without a name, so that they are gone with the last who has them, and
// sealed, so that nobody can take pages away under a reader. And how a descriptor gets from one process to another,
// with one byte over a unix socket. Any thread.

#include <hydrogen/base/error.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <cstddef>

namespace hydrogen::comm::shm {

/// Zeros, sparse. `name` is for people who look at /proc. errc::io when the system gives none.
expected<unique_fd> make_memory_file(const char* name, std::size_t size);
/// The size of a memory file that cannot shrink any more; 0 for anything else.
std::size_t size_of_memory_file(int file);
/// Readable and writable, and not in core dumps; for the caller to unmap. errc::io without address space.
expected<std::byte*> map_memory_file(int file, std::size_t size);

/// One byte, and a descriptor with it unless that is -1. False when the socket takes nothing.
bool hand_over(int socket, char byte, int file = -1);
/// What came: the byte, and in `file` the descriptor if there was one. 0 at the end of the socket, -1 when nothing has
/// come yet. Does not wait.
int take_over(int socket, unique_fd& file);

}  // namespace hydrogen::comm::shm
