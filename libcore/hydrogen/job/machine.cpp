#include <hydrogen/job/core.hpp>
#include <hydrogen/job/machine.hpp>

#include <utility>

namespace hydrogen::job {

machine::machine(setup s) : core_(std::make_unique<core>(std::move(s))) {}
machine::~machine() = default;
machine::machine(machine&&) noexcept = default;
machine& machine::operator=(machine&&) noexcept = default;

void machine::on(event e, time_point now, std::vector<effect>& out) {
  core_->on(std::move(e), now, out);
}
std::vector<effect> machine::on(event e, time_point now) {
  std::vector<effect> out;
  core_->on(std::move(e), now, out);
  return out;
}
time_point machine::next_wakeup() const {
  return core_->next_wakeup();
}
bool machine::ended() const {
  return core_->ended();
}
bool machine::over() const {
  return core_->over();
}
std::vector<stage_progress> machine::progress() const {
  return core_->progress();
}

}  // namespace hydrogen::job
