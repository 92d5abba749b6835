#include <hydrogen/plan/node.hpp>

#include <algorithm>

namespace hydrogen::plan {

session& engine::get() const {
  std::lock_guard lock(mutex_);
  if (session_ == nullptr)
    throw failure({errc::refused,
                   "a dataset was used after its context had ended",
                   {},
                   "actions belong into the entry function"});
  return *session_;
}

void engine::detach() {
  std::lock_guard lock(mutex_);
  session_ = nullptr;
}

void engine::forget(std::uint64_t keep_as) noexcept {
  std::lock_guard lock(mutex_);
  if (session_ != nullptr) session_->forget(keep_as);
}

exec::argument engine::argument(byte_buffer bytes) const {
  if (bytes.size() > exec::inline_argument_limit) return get().keep(std::move(bytes));
  return {std::move(bytes), std::nullopt};
}

namespace {

/// Its stage may not go on into the next node: the outputs are kept as they are, or ranks made them.
bool ends_stage(const node& n) {
  return n.kept != nullptr || n.from->kind == stage_kind::barrier || n.buckets > 1;
}

}  // namespace

job_graph cut(const node& last, std::string label) {
  // The chain of nodes from the source to the result; each has one input.
  std::vector<const node*> way;
  for (const node* n = &last; n != nullptr; n = n->from->input.get()) way.push_back(n);
  std::reverse(way.begin(), way.end());

  job_graph graph;
  graph.label = std::move(label);
  for (const node* n : way) {
    const auto& o = *n->from;
    const bool joins = o.from == feed::narrow && !ends_stage(*o.input);
    if (!joins) {
      stage s;
      s.label = n->label;
      s.kind = o.kind;
      s.partitions = o.partitions;
      s.partition_arguments = o.partition_arguments;
      s.barrier = o.barrier;
      if (o.from != feed::source) {
        s.inputs.push_back({static_cast<std::uint32_t>(graph.stages.size() - 1),
                            o.from == feed::shuffle ? input_kind::bucket : input_kind::range});
      }
      graph.stages.push_back(std::move(s));
    } else {
      graph.stages.back().label += " > " + n->label;
    }
    auto& s = graph.stages.back();
    s.needs = both(std::move(s.needs), o.kind == stage_kind::barrier ? o.barrier.needs : o.needs);
    s.chain.push_back(n->call);
    s.buckets = n->buckets;
    s.keep_as = n->kept != nullptr ? n->kept->id : 0;
  }
  return graph;
}

std::uint32_t default_partitions(std::uint64_t rows, std::uint32_t wanted) {
  if (wanted != 0) return wanted;
  constexpr std::uint64_t few = 8;
  constexpr std::uint64_t most_rows = std::uint64_t{64} << 20;
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(rows, 1, std::clamp<std::uint64_t>((rows + most_rows - 1) / most_rows, few, 4096)));
}

}  // namespace hydrogen::plan
