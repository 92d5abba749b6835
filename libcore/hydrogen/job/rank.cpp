// Ranks of a barrier stage: their tasks, results, and the copies that make results durable.
#include <hydrogen/job/core.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::job {
namespace {

/// Ranks that were stopped because of another rank explain nothing.
bool explains_less(errc a, errc b) {
  const auto weight = [](errc c) {
    return c == errc::aborted || c == errc::cancelled ? 0 : c == errc::disconnected || c == errc::timed_out ? 1 : 2;
  };
  return weight(a) < weight(b);
}

}  // namespace

/// Those that are due, each behind the table of the gang.
void core::send_ranks(stage_record& s) {
  auto& g = s.gang;
  auto told = no_index;  // ranks of one executor follow each other
  for (std::uint32_t rank = 0; rank < g.ranks.size(); ++rank) {
    auto& r = g.ranks[rank];
    if (r.done || now_ < r.resend_at) continue;
    r.resend_at = now_ + (g.granted ? set_.opt.task_repeat : set_.opt.retry_interval);
    const auto& at = processes_[r.process].ref;
    if (std::exchange(told, r.process) != r.process) {
      out_->push_back(to_executor{at, exec::join_gang{g.id, g.attempt, g.members}});
    }
    out_->push_back(to_executor{at, exec::run_task{make_task(s, rank, g.tries - 1)}});
  }
}

bool core::live(const stage_record& s, const exec::task_id& id, const request_id& request, attempt_id attempt) const {
  const auto& g = s.gang;
  return g.open && g.placed && id.partition < g.ranks.size() && request == g.id && attempt == g.attempt &&
         id.attempt == g.tries - 1;
}

void core::rank_done(stage_record& s, exec::task_done& m) {
  auto& g = s.gang;
  const auto rank = m.id.partition;
  const auto at = process_of(m.at, no_index);
  if (phase_ != phase::running || !live(s, m.id, m.request, m.attempt) || g.failing || g.ended) {
    const auto repeated =
        s.parts[rank].attempt == m.id.attempt &&
        (s.parts[rank].status == task_status::done || (g.ended && rank < g.ranks.size() && g.ranks[rank].done));
    if (!repeated) drop(at, m.outputs);
    return;
  }
  auto& r = g.ranks[rank];
  if (r.done) return;  // repeated
  r.done = true;
  r.process = at;
  r.outputs = std::move(m.outputs);
  std::stable_sort(r.outputs.begin(), r.outputs.end(),
                   [](const auto& a, const auto& b) { return a.bucket < b.bucket; });
  if (r.outputs.empty() || is_here(r.outputs)) {
    r.copies = std::exchange(r.outputs, {});
    r.copies_at = driver_process();
    r.durable = true;
    return gang_complete(s);
  }
  r.copying = true;
  copy_blocks copy{s.index, rank, m.id.attempt, {}, false};
  for (const auto& b : r.outputs) {
    copy.refs.push_back({b, processes_[at].ref});
    g.copied_bytes += b.bytes;
  }
  copy.beyond_limit = g.copied_bytes > set_.opt.copy_limit;
  out_->push_back(std::move(copy));
}

/// Its attempt is not there yet, or not any more: then its result was lost on the way.
void core::rank_refused(stage_record& s, const exec::task_refused& m) {
  auto& g = s.gang;
  if (phase_ != phase::running || !live(s, m.id, m.request, m.attempt) || g.failing || g.ended) return;
  auto& r = g.ranks[m.id.partition];
  if (r.done) return;
  if (r.refused_since == never) r.refused_since = now_;
  r.resend_at = std::min(r.resend_at, now_ + set_.opt.retry_interval);
  if (now_ - r.refused_since < set_.opt.refusal_limit) return;
  fail_attempt(s, "the executor does not hold rank " + std::to_string(m.id.partition) + " any more", false);
}

void core::rank_failed(stage_record& s, exec::task_failed& m) {
  auto& g = s.gang;
  if (phase_ != phase::running || !live(s, m.id, m.request, m.attempt) || g.ended) return;
  if (g.ranks[m.id.partition].done) return;
  bool recoverable = !m.missing.empty();
  for (const auto& ref : m.missing) {
    recoverable = lose_block(ref, "it could not be fetched: " + m.why.cause.what) && recoverable;
    if (phase_ != phase::running) return;
  }
  const auto node = g.ranks[m.id.partition].node;
  auto why = describe(s, std::move(m.why), m.id.partition, g.tries - 1, node);
  if (!g.failure || explains_less(g.failure->cause.code, why.cause.code)) g.failure = why;
  if (recoverable) {
    fail_attempt(s, "an input of rank " + std::to_string(m.id.partition) + " is missing", true);
    replan();
    return;
  }
  if (g.failing && g.spared && explains_less(errc::timed_out, why.cause.code)) g.spared = false;
  fail_attempt(s, "rank " + std::to_string(m.id.partition) + ": " + why.cause.what, false);
}

void core::handle(blocks_copied& m) {
  if (m.stage < stages_.size() && stages_[m.stage].is_gang() && m.partition < stages_[m.stage].parts.size()) {
    rank_copied(stages_[m.stage], m);
  }
}

void core::rank_copied(stage_record& s, blocks_copied& m) {
  auto& g = s.gang;
  const auto of_rank = g.placed && m.partition < g.ranks.size();
  const auto expected_here =
      phase_ == phase::running && g.open && of_rank && m.attempt == g.tries - 1 && g.ranks[m.partition].copying;
  if (!expected_here) {
    // Repeated, or of an attempt that is over: then the copies are nobody's.
    const auto& part = s.parts[m.partition];
    const auto used =
        part.attempt == m.attempt && (part.status == task_status::done || (of_rank && g.ranks[m.partition].durable));
    if (m.copies && !used) {
      for (const auto& ref : *m.copies) out_->push_back(drop_copies{{ref.info.id}});
    }
    return;
  }
  auto& r = g.ranks[m.partition];
  r.copying = false;
  if (!m.copies) return copy_failed(s, m.partition, m.copies.error().what);
  if (m.copies->size() != r.outputs.size()) return copy_failed(s, m.partition, "blocks are missing among its copies");
  for (const auto& ref : *m.copies) {
    r.copies.push_back(ref.info);
    r.copies_at = process_of(ref.at, no_index);
  }
  r.durable = true;
  gang_complete(s);
}

/// Of the attempt that is live.
void core::rank_checkpointed(stage_record& s, const exec::checkpointed& m) {
  auto& g = s.gang;
  const auto* reached = g.restore && g.restore->written_by == g.attempt ? &*g.restore : g.fixed ? &*g.fixed : nullptr;
  if (reached != nullptr && m.step <= reached->step) return;
  if (m.replicated && m.id.partition != 0) return;  // rank 0 writes for all
  auto& open = g.checkpoints[m.step];
  open.replicated = m.replicated;
  open.pieces.resize(g.ranks.size());
  auto& piece = open.pieces[m.id.partition];
  if (piece) return;  // repeated
  piece = m.piece;
  if (++open.reported < (m.replicated ? 1 : g.ranks.size())) return;

  exec::restore_point point{m.step, g.attempt, m.replicated, {}};
  for (const auto& p : open.pieces) {
    if (p) point.pieces.push_back(*p);
  }
  g.restore = point;
  if (m.replicated) g.replicated = point;
  g.checkpoints.erase(g.checkpoints.begin(), g.checkpoints.upper_bound(m.step));
  log(log_level::info, s.label + ": step " + std::to_string(m.step) + " is checkpointed");
  out_->push_back(checkpoint_complete{s.index, g.id, std::move(point)});
  const auto wanted = ranks_wanted(s);
  const auto any_width = wanted.least < wanted.most && g.replicated ? g.replicated->step : 0;
  auto told = no_index;  // ranks of one executor follow each other
  for (const auto& r : g.ranks) {
    if (std::exchange(told, r.process) == r.process) continue;
    out_->push_back(to_executor{processes_[r.process].ref, exec::checkpoint_known{g.id, g.attempt, m.step, any_width}});
  }
}

void core::copy_failed(stage_record& s, std::uint32_t rank, const std::string& why) {
  auto& g = s.gang;
  auto& r = g.ranks[rank];
  r.done = false;
  r.outputs.clear();
  task_failure f;
  f.cause = {errc::io, "its output could not be copied to the driver: " + why, {}, {}};
  f = describe(s, std::move(f), rank, g.tries - 1, r.node);
  if (!g.failure || explains_less(g.failure->cause.code, f.cause.code)) g.failure = f;
  if (g.ended) return attempt_over(s, gang::ended(g.end));
  fail_attempt(s, "the output of rank " + std::to_string(rank) + " could not be copied: " + why, false);
}

void core::gang_complete(stage_record& s) {
  auto& g = s.gang;
  if (!std::all_of(g.ranks.begin(), g.ranks.end(), [](const auto& r) { return r.durable; })) return;
  g.width = readers(s);
  g.ranks.resize(s.parts.size());  // partitions beyond the ranks are done as well: without rows
  for (std::uint32_t rank = 0; rank < s.parts.size(); ++rank) {
    auto& part = s.parts[rank];
    auto& r = g.ranks[rank];
    drop(r.process, r.outputs);  // the driver has them now
    part.outputs = std::move(r.copies);
    part.home = r.copies_at;
    part.status = task_status::done;
  }
  s.sent = 0;
  s.absent = 0;
  releases_.push_back({{g.id, g.attempt, ++g.number, gang::decision_kind::release, {}}, now_});
  say(releases_.back().what);
  g.decision.reset();
  g.open = g.wanted = g.placed = g.granted = g.failing = g.spared = g.ended = false;
  g.floor = g.attempt;
  g.attempt = {};
  g.ranks.clear();
  g.checkpoints.clear();
  log(log_level::info,
      s.label + ": complete and durable after " + std::to_string(g.tries) + (g.tries == 1 ? " attempt" : " attempts"));
  for (std::uint32_t rank = 0; rank < s.parts.size(); ++rank) completed(s, rank);
}

}  // namespace hydrogen::job
