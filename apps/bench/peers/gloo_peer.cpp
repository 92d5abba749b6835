// A rank of Gloo: gloo_peer RANK RANKS FOLDER. Ranks meet through files in FOLDER and talk over loopback. Takes the
// lines of timed_calls.hpp until its input ends.

#include "timed_calls.hpp"
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/config.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include <iostream>
#include <memory>

namespace {

using namespace hydrogen::bench;

class gloo_rank {
 public:
  gloo_rank(int rank, int ranks, const std::string& folder)
      : context_(std::make_shared<gloo::rendezvous::Context>(rank, ranks)) {
    gloo::transport::tcp::attr where;
    where.iface = "lo";
    auto device = gloo::transport::tcp::CreateDevice(where);
    gloo::rendezvous::FileStore store(folder);
    context_->setTimeout(std::chrono::seconds(20));
    context_->connectFullMesh(store, device);
  }

  std::vector<double> run(const timed_call& c) {
    const auto barrier = [this] { meet(); };
    if (c.operation == "wait") return waiting_percent(c, rank(), ranks(), RUSAGE_SELF, barrier);
    if (c.operation == "barrier") return time_calls(c, {[] {}, barrier, [] { return true; }}, barrier);
    if (c.operation != "all_reduce") throw std::runtime_error("no operation " + c.operation);
    numbers_.resize(c.bytes / sizeof(float));
    gloo::AllreduceOptions options(context_);
    options.setOutput(numbers_.data(), numbers_.size());
    options.setReduceFunction(static_cast<void (*)(void*, const void*, const void*, std::size_t)>(&gloo::sum<float>));
    return time_calls(c,
                      {[this] { fill_summands(numbers_, rank()); },
                       [&] {
                         options.setTag(tag_++);
                         gloo::allreduce(options);
                       },
                       [this] { return is_sum(numbers_, ranks()); }},
                      barrier);
  }

  std::uint32_t rank() const { return static_cast<std::uint32_t>(context_->rank); }
  std::uint32_t ranks() const { return static_cast<std::uint32_t>(context_->size); }

 private:
  void meet() {
    gloo::BarrierOptions options(context_);
    options.setTag(tag_++);
    gloo::barrier(options);
  }

  std::shared_ptr<gloo::rendezvous::Context> context_;
  page_vector<float> numbers_;
  std::uint32_t tag_ = 0;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  sleep_precisely();
  gloo_rank self(std::stoi(argv[1]), std::stoi(argv[2]), argv[3]);
  const auto version = std::to_string(GLOO_VERSION_MAJOR) + "." + std::to_string(GLOO_VERSION_MINOR);
  if (self.rank() == 0) say_line("ready Gloo " + version);
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = answer_to(line, [&](const timed_call& c) { return self.run(c); });
    if (self.rank() == 0) say_line(answer);
  }
  return 0;
} catch (const std::exception& e) {
  std::cerr << e.what() << "\n";
  return 1;
}
