#pragma once
// The messages of gang admission: between the jobs of a driver and the coordinator, the coordinator and its agents, and
// an agent and the executors of its node. They are the events of the machines in this area and, unchanged, what travels
// between actors and processes. Plain values with `inspect`.
//
// Who speaks: messages of the coordinator carry its term, messages to an agent also the agent boot that they address;
// messages of an agent carry its boot; messages of a job carry the run inside the request id. (request, attempt) names
// a gang attempt, or one lease of a parallel request: each lease has an attempt of its own.
//
// Any message between coordinator, job and agent may be lost, repeated, late or reordered. Who wants something repeats
// it until it is answered (at options' retry intervals); the comment of each message says what its answer is. Messages
// between an agent and an executor arrive in order, and none is lost while both live.

#include <hydrogen/gang/messages_agent.hpp>
#include <hydrogen/gang/messages_executor.hpp>
#include <hydrogen/gang/messages_job.hpp>
