#pragma once
// What actors of one process say to each other: the messages of the machines, with the channel to answer on. Nothing
// here is ever serialised by CAF; between processes the same messages travel as frames (wire.hpp).

#include <hydrogen/base/error.hpp>
#include <hydrogen/exec/task.hpp>
#include <hydrogen/gang/admission.hpp>

#include <caf/all.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace hydrogen::actors {

/// Sends one message to a peer, in this process or another. Never blocks; any thread. A peer that is gone swallows it:
/// whoever depends on an answer repeats.
template <class Message>
using channel = std::function<void(Message&&)>;

/// Names one connection to a peer, or one peer in this process; never used twice.
using peer_key = std::uint64_t;
peer_key next_peer_key();

/// An actor that a cluster cannot do without ends by `stop_mail`; one that ends by an error takes its process with it,
/// so that others notice.
void end_process_with(const caf::actor&, std::string what);

// ---- to the coordinator ----

struct attach_peer {
  peer_key key;
  std::string who;
  boot_id from;  // of the process; an agent or a driver in this one has none
  channel<gang::to_agent> to_agent;
  channel<gang::to_job> to_job;
  std::function<void(byte_buffer)> to_observer;  // answers of `status_mail` and `drain_mail`
};
struct detach_peer {
  peer_key key;
  error why;
};
struct agent_mail {
  peer_key key;
  gang::from_agent message;
};
struct driver_mail {
  peer_key key;
  gang::from_job message;
};
struct status_mail {
  peer_key key;
};
struct drain_mail {
  peer_key key;
  std::string node;
  bool on = true;
};
struct journal_synced {
  gang::admission_event::synced news;
};

// ---- to an agent ----

class executor_host;
/// First mail of all: what starts and ends its executors.
struct host_mail {
  std::shared_ptr<executor_host> host;
};

struct order_mail {
  gang::to_agent message;
};
struct coordinator_attached {
  channel<gang::from_agent> to_coordinator;
};
struct coordinator_detached {
  error why;
};
struct executor_ready_mail {
  run_id run;
  boot_id executor;
  std::string endpoint;
};
struct executor_failed_mail {
  run_id run;
  boot_id executor;
  gang::refusal_kind kind;
  error why;
};
struct executor_died_mail {
  run_id run;
  boot_id executor;
  std::string cause;
};
struct executor_news_mail {
  boot_id executor;
  gang::from_executor message;
};

// ---- to an executor ----

struct attempt_mail {
  gang::to_executor message;
};
/// Where what a task says goes: to its job. Any thread; never blocks.
using task_reply = std::function<void(exec::from_task_host&&)>;
/// What a job says at one time, in order: each message stands for itself.
struct task_mail {
  std::shared_ptr<std::vector<exec::to_task_host>> messages;
  std::shared_ptr<const task_reply> reply;
};
/// From a slot thread: the rank has its links and waits for enter; or has returned.
struct rank_joined_mail {
  gang::attempt_ref ref;
  bool everyone = false;   // it is the last rank of all
  const char* meets = "";  // in static memory
};
struct rank_returned_mail {
  gang::attempt_ref ref;
};
/// To itself: user code that was told to stop has had its time.
struct hang_mail {};
/// From the last slot thread that left a lane that was closed.
struct lane_idle_mail {
  gang::attempt_ref ref;
};

/// From a slot thread: a device that it used is lost.
struct device_lost_mail {};
/// From the thread that closed the devices of an attempt of which nothing else is left.
struct devices_closed_mail {
  gang::attempt_ref ref;
};
/// To itself: they have had their time.
struct devices_late_mail {
  gang::attempt_ref ref;
};

// ---- to a task actor ----

class executor_task;
/// The task itself, with its outcome in it.
struct outcome_mail {
  std::shared_ptr<executor_task> task;
};

// ---- to all ----

struct wake_up {};
struct stop_mail {};

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::attach_peer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::detach_peer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::agent_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::driver_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::status_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::drain_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::journal_synced)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::host_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::order_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::coordinator_attached)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::coordinator_detached)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::executor_ready_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::executor_failed_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::executor_died_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::executor_news_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::attempt_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::task_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::rank_joined_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::rank_returned_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::hang_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::lane_idle_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::device_lost_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::devices_closed_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::devices_late_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::outcome_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::wake_up)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::stop_mail)
