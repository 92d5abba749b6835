#include <hydrogen/gang/digest.hpp>

#include <algorithm>

namespace hydrogen::gang {

void ended_requests::add(const request_id& id, error why) {
  if (!why_.try_emplace(id, std::move(why)).second) return;
  order_.push_back(id);
  if (order_.size() <= most) return;
  why_.erase(order_.front());
  order_.pop_front();
}

const error* ended_requests::find(const request_id& id) const {
  const auto at = why_.find(id);
  return at == why_.end() ? nullptr : &at->second;
}

digest::digest(const std::vector<record>& history) {
  for (const auto& r : history) add(r);
}

void digest::add(const record& r) {
  if (r.term < began_) return;
  term_ = std::max(term_, r.term);
  const auto known = [this](const request_id& id) {
    const auto at = requests_.find(id);
    return at == requests_.end() ? nullptr : &at->second;
  };
  if (std::holds_alternative<term_record>(r.body)) {
    began_ = r.term;
  } else if (const auto* s = std::get_if<submitted_record>(&r.body)) {
    runs_.try_emplace(s->request.id.run);
    requests_.try_emplace(s->request.id, request{s->request, s->place, {}, {}});
  } else if (const auto* g = std::get_if<go_record>(&r.body)) {
    if (auto* q = known(g->ref.request); q != nullptr && !q->cancelled) {
      q->last_attempt = g->ref.attempt;
      q->open = *g;
    }
  } else if (const auto* c = std::get_if<closed_record>(&r.body)) {
    auto* q = known(c->ref.request);
    if (c->reason != close_reason::again || (q != nullptr && q->cancelled)) return end(c->ref.request, c->why);
    if (q != nullptr) {
      q->last_attempt = c->ref.attempt;
      q->open.reset();
    }
  } else if (const auto* x = std::get_if<cancelled_record>(&r.body)) {
    auto* q = known(x->request);
    if (q == nullptr || !q->open) return end(x->request, {errc::none, {}, {}, {}});
    q->cancelled = true;
  } else if (const auto* o = std::get_if<run_over_record>(&r.body)) {
    runs_.erase(o->run);
    std::erase_if(requests_, [&](const auto& q) { return q.first.run == o->run; });
  } else if (const auto* d = std::get_if<drain_record>(&r.body)) {
    if (d->on) {
      drained_.insert(d->node);
    } else {
      drained_.erase(d->node);
    }
  }
}

void digest::end(const request_id& id, const error& why) {
  requests_.erase(id);
  runs_[id.run].add(id, why);
}

std::vector<const digest::request*> digest::in_order() const {
  std::vector<const request*> all;
  all.reserve(requests_.size());
  for (const auto& [id, q] : requests_) all.push_back(&q);
  std::sort(all.begin(), all.end(), [](const auto* a, const auto* b) { return a->place < b->place; });
  return all;
}

std::vector<record> digest::records() const {
  std::vector<record> all;
  if (term_ == term_id{}) return all;
  // Filled in place: g++ 12 takes what moves a whole record for a read of all its alternatives.
  const auto add = [&]<class Body>(Body body) {
    all.emplace_back().term = term_;
    all.back().body.emplace<Body>(std::move(body));
  };
  add(term_record{});
  for (const auto& node : drained_) add(drain_record{node, true});
  for (const auto& [run, ends] : runs_) {
    for (const auto& id : ends.in_order()) {
      const auto& why = *ends.find(id);
      if (why.code == errc::none) {
        add(cancelled_record{id});
      } else {
        add(closed_record{{id, {}}, close_reason::failed, why});
      }
    }
  }
  for (const auto* q : in_order()) {
    add(submitted_record{q->what, q->place});
    if (q->open) {
      add(*q->open);
      if (q->cancelled) add(cancelled_record{q->what.id});
    } else if (q->last_attempt != attempt_id{}) {
      add(closed_record{{q->what.id, q->last_attempt}, close_reason::again, {errc::none, {}, {}, {}}});
    }
  }
  return all;
}

}  // namespace hydrogen::gang
