// Stands in for libnccl.so.2. With FAKE_NCCL_VERSION it has that one, with FAKE_NCCL_IS_LACKING it lacks a function.
#include "fake_nccl.hpp"

#include <hydrogen/base/half.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#ifndef FAKE_NCCL_VERSION
#define FAKE_NCCL_VERSION 21400
#endif

extern "C" {
fake_nccl_state fake_nccl{};
}

namespace {

enum : int { success = 0, invalid_argument = 4, remote_error = 6, in_progress = 7 };

struct member;
struct group {
  int size = 0;
  std::vector<member*> members;
};

struct member {
  std::uint64_t key = 0;
  int state = in_progress;
  void* x = nullptr;  // of the exchange under way
  std::size_t n = 0;
  int type = 0, how = 0;
  bool finalized = false;
  std::thread::id caller;
};

std::mutex mutex;
std::map<std::uint64_t, group> groups;
std::uint64_t last_key = 0;

template <class T>
T combine(int how, T a, T b) {
  switch (how) {
    case 1:
      return static_cast<T>(a * b);
    case 2:
      return std::max(a, b);
    case 3:
      return std::min(a, b);
    default:
      return static_cast<T>(a + b);  // mean: divided at the end
  }
}

template <class T, class Wide>
void reduce(const group& g) {
  for (std::size_t i = 0; i < g.members[0]->n; ++i) {
    auto all = static_cast<Wide>(static_cast<T*>(g.members[0]->x)[i]);
    for (std::size_t r = 1; r < g.members.size(); ++r) {
      all = combine(g.members[0]->how, all, static_cast<Wide>(static_cast<T*>(g.members[r]->x)[i]));
    }
    if (g.members[0]->how == 4) all = static_cast<Wide>(all / static_cast<Wide>(g.size));
    for (auto* m : g.members) static_cast<T*>(m->x)[i] = static_cast<T>(all);
  }
}

/// With the lock: the exchange is done by the last who comes.
void exchange_if_all_came(group& g) {
  if (static_cast<int>(g.members.size()) != g.size) return;
  for (auto* m : g.members) {
    if (m->x == nullptr) return;
  }
  for (auto* m : g.members) {
    const auto& first = *g.members[0];
    if (m->n != first.n || m->type != first.type || m->how != first.how) ++fake_nccl.wrong;
  }
  switch (g.members[0]->type) {
    case 2:
      reduce<std::int32_t, std::int32_t>(g);
      break;
    case 4:
      reduce<std::int64_t, std::int64_t>(g);
      break;
    case 6:
      reduce<hydrogen::half, float>(g);
      break;
    case 7:
      reduce<float, float>(g);
      break;
    case 8:
      reduce<double, double>(g);
      break;
    case 9:
      reduce<hydrogen::bfloat16, float>(g);
      break;
    default:
      ++fake_nccl.wrong;
  }
  for (auto* m : g.members) {
    m->x = nullptr;
    m->state = success;
  }
}

/// With the lock: of one communicator, one thread calls, and not while an earlier call is in progress.
void check_call(const member& m, bool may_be_in_progress) {
  if (m.caller != std::this_thread::get_id()) ++fake_nccl.wrong;
  if (m.state == in_progress && !may_be_in_progress) ++fake_nccl.wrong;
}

void remove_member(member* m) {
  auto& g = groups[m->key];
  std::erase(g.members, m);
  if (g.members.empty()) groups.erase(m->key);
  delete m;
  --fake_nccl.living;
}

}  // namespace

extern "C" {

struct fake_id {
  char bytes[128];
};

struct fake_config {
  std::size_t size;
  unsigned magic, version;
  int blocking;
};

int ncclGetVersion(int* version) {
  *version = FAKE_NCCL_VERSION;
  return success;
}

const char* ncclGetErrorString(int said) {
  return said == remote_error       ? "remote process exited or there was a network error"
         : said == invalid_argument ? "invalid argument"
                                    : "unhandled system error";
}

const char* ncclGetLastError(void*) {
  return fake_nccl.exchange_says != success ? "no room in the ring" : "";
}

int ncclGetUniqueId(fake_id* id) {
  const std::lock_guard lock(mutex);
  *id = {};
  ++last_key;
  std::memcpy(id->bytes, &last_key, sizeof last_key);
  id->bytes[127] = 77;
  return fake_nccl.id_says;
}

int ncclCommInitRankConfig(void** made, int size, fake_id id, int rank, fake_config* config) {
  if (fake_nccl.init_says != success) return fake_nccl.init_says;
  const std::lock_guard lock(mutex);
  if (config->size != 24 || config->magic != 0xcafebeef || config->version != 21400 || config->blocking != 0 ||
      id.bytes[127] != 77 || rank < 0 || rank >= size) {
    return invalid_argument;
  }
  auto* m = new member;
  std::memcpy(&m->key, id.bytes, sizeof m->key);
  m->caller = std::this_thread::get_id();
  *made = m;
  ++fake_nccl.living;
  auto& g = groups[m->key];
  g.size = size;
  g.members.push_back(m);
  if (static_cast<int>(g.members.size()) == size) {
    for (auto* each : g.members) each->state = success;
  }
  return in_progress;
}

int ncclCommGetAsyncError(void* of, int* state) {
  const std::lock_guard lock(mutex);
  auto& m = *static_cast<member*>(of);
  check_call(m, true);
  const bool has_joined = m.x != nullptr || m.state != in_progress;
  *state = has_joined && fake_nccl.later_says != success ? fake_nccl.later_says.load() : m.state;
  return success;
}

int ncclAllReduce(const void* from, void* to, std::size_t n, int type, int how, void* of, void* queue) {
  const std::lock_guard lock(mutex);
  auto& m = *static_cast<member*>(of);
  check_call(m, false);
  if (from != to || (queue != nullptr) != (fake_nccl.on_gpu != 0)) return invalid_argument;
  if (fake_nccl.exchange_says != success) return fake_nccl.exchange_says;
  if (m.state != success) return m.state;
  m.x = to;
  m.n = n;
  m.type = type;
  m.how = how;
  m.state = in_progress;
  exchange_if_all_came(groups[m.key]);
  return in_progress;
}

int ncclCommFinalize(void* of) {
  const std::lock_guard lock(mutex);
  auto& m = *static_cast<member*>(of);
  check_call(m, false);
  m.finalized = true;
  return fake_nccl.finalize_says;
}

int ncclCommDestroy(void* of) {
  const std::lock_guard lock(mutex);
  auto* m = static_cast<member*>(of);
  check_call(*m, false);
  if (!m->finalized) ++fake_nccl.wrong;
  remove_member(m);
  ++fake_nccl.destroyed;
  return success;
}

#ifndef FAKE_NCCL_IS_LACKING
int ncclCommAbort(void* of) {
  const std::lock_guard lock(mutex);
  auto* m = static_cast<member*>(of);
  check_call(*m, true);
  for (auto* other : groups[m->key].members) {
    if (fake_nccl.notices != 0) other->state = remote_error;
  }
  remove_member(m);
  ++fake_nccl.aborted;
  return success;
}
#endif

}  // extern "C"
