#include <hydrogen/job/core.hpp>
#include <hydrogen/job/machine.hpp>

#include <utility>

namespace hydrogen::job {

std::vector<gang::from_job> answer_for_ended_job(const gang::to_job& message) {
  std::vector<gang::from_job> answers;
  if (const auto* m = std::get_if<gang::executor_gone>(&message)) {
    answers.push_back(gang::noted{gang::noted_kind::executor_gone, {m->run, 0, 0, 0}, {}, m->executor});
  } else if (const auto* e = std::get_if<gang::ended>(&message)) {
    answers.push_back(gang::noted{gang::noted_kind::ended, e->request, e->attempt, {}});
    if (e->cause != gang::end_cause::cancelled) answers.push_back(gang::cancel{e->request});
  } else if (const auto* d = std::get_if<gang::denied>(&message)) {
    answers.push_back(gang::noted{gang::noted_kind::denied, d->request, {}, {}});
  } else if (const auto* l = std::get_if<gang::leased>(&message)) {
    answers.push_back(gang::cancel{l->request});
  } else if (const auto* a = std::get_if<gang::admitted>(&message)) {
    answers.push_back(gang::cancel{a->request});
  } else if (const auto* f = std::get_if<gang::fence>(&message)) {
    answers.push_back(gang::cancel{f->request});
  } else if (const auto* p = std::get_if<gang::placed>(&message)) {
    answers.push_back(gang::cancel{p->request});
  }
  return answers;
}

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
