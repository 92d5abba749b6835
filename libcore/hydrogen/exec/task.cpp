#include <hydrogen/exec/task.hpp>

#include <spdlog/fmt/fmt.h>

namespace hydrogen::exec {

std::string to_string(const task_id& x) {
  return fmt::format("{:08x}/j{}/s{}/p{} attempt {}", x.run.high >> 32, x.job, x.stage, x.partition, x.attempt);
}

}  // namespace hydrogen::exec
