#include <hydrogen/gpu/cuda/recorded_graph.cuh>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <type_traits>
#include <variant>

namespace hydrogen::gpu::cuda {
namespace {

/// Whether its kernel looks at its data for faults.
bool may_find_faults(const recorded& r) {
  return std::visit(
      []<class W>(const W&) {
        return std::is_same_v<W, work::softmax_cross_entropy> || std::is_same_v<W, work::gather_rows> ||
               std::is_same_v<W, work::scatter_add_rows> || std::is_same_v<W, work::kmeans_accumulate> ||
               std::is_same_v<W, work::histogram>;
      },
      r.what);
}

}  // namespace

expected<std::shared_ptr<prepared_graph>> recorded_graph::make(std::shared_ptr<device_context> context,
                                                               std::vector<recorded> items) {
  std::shared_ptr<recorded_graph> made(new recorded_graph(std::move(context)));
  if (auto done = made->capture(items); !done) return unexpected(std::move(done.error()));
  return made;
}

expected<void> recorded_graph::capture(const std::vector<recorded>& items) {
  const auto failed = [&](cudaError_t said, const char* call) {
    (void)cudaGetLastError();
    return unexpected(context_->error_of(said, call));
  };
  if (const auto said = context_->use(); said != cudaSuccess) return failed(said, "cudaSetDevice");
  auto cell = context_->take_cell();
  if (!cell) return unexpected(std::move(cell.error()));
  faults_ = *cell;
  if (const auto said = context_->begin(stream_); said != cudaSuccess) {
    return failed(said, "cudaStreamCreateWithFlags");
  }
  const bool has_product = std::any_of(items.begin(), items.end(), [](const recorded& r) {
    return std::holds_alternative<work::matrix_product>(r.what);
  });
  if (has_product) {  // before the capture, in which nothing may be allocated
    std::string why;
    product_ = context_->products.take(stream_, why);
    if (product_ == nullptr) return fail(errc::io, why, context_->description());
  }
  // Relaxed, since the driver loads a kernel at its first launch, which may allocate.
  if (const auto said = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed); said != cudaSuccess) {
    return failed(said, "cudaStreamBeginCapture");
  }
  if (std::any_of(items.begin(), items.end(), may_find_faults)) count_replay(faults_, stream_);
  std::optional<error> why;
  for (std::size_t i = 0; i < items.size() && !why; ++i) {
    faults_.owner = i + 1;
    launch_context launched{context_->shape(),  stream_,  items[i].scratch, faults_,
                            context_->products, product_, context_->customs};
    launch_any(items[i].what, launched);
    if (!launched.failed()) continue;
    why = launched.refusal.empty() ? context_->error_of(launched.status, launched.call)
                                   : error{errc::io, launched.refusal, context_->description(), {}};
    why->what = fmt::format("kernel '{}' cannot be recorded: {}", work::name_of(items[i].what), why->what);
  }
  cudaGraph_t graph = nullptr;
  const auto ended = cudaStreamEndCapture(stream_, &graph);
  (void)cudaGetLastError();
  if (why || ended != cudaSuccess) {
    if (graph != nullptr) cudaGraphDestroy(graph);
    return why ? unexpected(std::move(*why)) : failed(ended, "cudaStreamEndCapture");
  }
  const auto said = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  if (said != cudaSuccess) return failed(said, "cudaGraphInstantiate");
  return {};
}

recorded_graph::~recorded_graph() {
  if (executable_ != nullptr && context_->use() == cudaSuccess) cudaGraphExecDestroy(executable_);
  context_->end(stream_, product_, faults_, true);
}

cudaError_t recorded_graph::replay(cudaStream_t stream, std::uint64_t& number) {
  const std::lock_guard lock(mutex_);
  (void)cudaGetLastError();
  const auto said = cudaGraphLaunch(executable_, stream);
  if (said == cudaSuccess) ++replays_;
  number = replays_;
  return said;
}

std::optional<error> recorded_graph::take_fault(std::uint64_t replay) {
  const auto found = context_->look(faults_);
  if (!found || found->owner == 0 || found->replay != replay) return {};
  context_->clear(faults_);
  return describe(*found);
}

}  // namespace hydrogen::gpu::cuda
