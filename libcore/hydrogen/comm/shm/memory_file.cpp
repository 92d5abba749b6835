#include <hydrogen/comm/shm/memory_file.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace hydrogen::comm::shm {
namespace {

constexpr int file_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

union control_buffer {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

expected<unique_fd> make_memory_file(const char* name, std::size_t size) {
  unique_fd file(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ftruncate(file.get(), static_cast<off_t>(size)) != 0 ||
      fcntl(file.get(), F_ADD_SEALS, file_seals) != 0) {
    return fail_errno("a memory file for gangs of this host");
  }
  return file;
}

std::size_t size_of_memory_file(int file) {
  struct stat what {};
  const int sealed = fcntl(file, F_GET_SEALS);
  // The seal first: the size cannot become smaller after it.
  if (sealed < 0 || (sealed & F_SEAL_SHRINK) == 0 || fstat(file, &what) != 0 || what.st_size < 0) return 0;
  return static_cast<std::size_t>(what.st_size);
}

expected<std::byte*> map_memory_file(int file, std::size_t size) {
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (at == MAP_FAILED) return fail_errno("mmap of shared memory");
  madvise(at, size, MADV_DONTDUMP);
  return static_cast<std::byte*>(at);
}

bool hand_over(int socket, char byte, int file) {
  iovec part{&byte, 1};
  control_buffer control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (file >= 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    auto* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &file, sizeof file);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

int take_over(int socket, unique_fd& file) {
  char byte = 0;
  iovec part{&byte, 1};
  control_buffer control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const auto n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return -1;
  if (n != 1) return 0;
  const auto* rights = CMSG_FIRSTHDR(&message);
  if (rights == nullptr || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) return byte;
  // There is room for two where one was meant: all that came are this process's to close.
  for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= rights->cmsg_len; at += sizeof(int)) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(rights) + at, sizeof fd);
    unique_fd came(fd);
    if (at == 0) file = std::move(came);
  }
  return byte;
}

}  // namespace hydrogen::comm::shm
