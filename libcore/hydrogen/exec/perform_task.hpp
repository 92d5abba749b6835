#pragma once
// Runs one task to its end on the calling slot thread: finds its operators, fetches inputs in bounded portions, pushes
// blocks through the chain, keeps the outputs in the environment's block store. Never throws: whatever ends the task
// early (an exception of user code, a lost input, the abort word, the budget) is the returned task_failed, with the
// last log lines; the outputs made so far are dropped then.

#include <hydrogen/exec/environment.hpp>

#include <variant>

namespace hydrogen::exec {

std::variant<task_done, task_failed> perform_task(const task& what, task_environment& environment);

}  // namespace hydrogen::exec
