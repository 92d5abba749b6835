// A rank of MPI, to be started by mpirun. Rank 0 takes the lines of timed_calls.hpp until its input ends, and hands
// each to the others.

#include "timed_calls.hpp"
#include <mpi.h>

#include <iostream>

namespace {

using namespace hydrogen::bench;

constexpr int line_bytes = 128;

class mpi_rank {
 public:
  mpi_rank() {
    int n = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &n);
    rank_ = static_cast<std::uint32_t>(n);
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    ranks_ = static_cast<std::uint32_t>(n);
  }

  std::uint32_t rank() const { return rank_; }

  std::vector<double> run(const timed_call& c) {
    const auto barrier = [] { MPI_Barrier(MPI_COMM_WORLD); };
    if (c.operation == "wait") return waiting_percent(c, rank_, ranks_, RUSAGE_SELF, barrier);
    if (c.operation == "barrier") return time_calls(c, {[] {}, barrier, [] { return true; }}, barrier);
    numbers_.resize(c.bytes / sizeof(float));
    auto* x = numbers_.data();
    const auto count = static_cast<int>(numbers_.size());
    const auto part = count / static_cast<int>(ranks_);
    const auto root = static_cast<int>(ranks_ - 1);
    const auto fill = [this] { fill_summands(numbers_, rank_); };
    const auto is = [](std::span<const float> some, int rank) {
      return std::all_of(some.begin(), some.end(), [&](float v) { return v == static_cast<float>(rank + 1); });
    };
    if (c.operation == "all_reduce") {
      return time_calls(c,
                        {fill, [&] { MPI_Allreduce(MPI_IN_PLACE, x, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); },
                         [this] { return is_sum(numbers_, ranks_); }},
                        barrier);
    }
    if (c.operation == "reduce_scatter") {
      share_.resize(static_cast<std::size_t>(part));
      return time_calls(
          c,
          {fill, [&] { MPI_Reduce_scatter_block(x, share_.data(), part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); },
           [this] { return is_sum(share_, ranks_); }},
          barrier);
    }
    if (c.operation == "broadcast") {
      return time_calls(
          c, {fill, [&] { MPI_Bcast(x, count, MPI_FLOAT, root, MPI_COMM_WORLD); }, [&] { return is(numbers_, root); }},
          barrier);
    }
    if (c.operation == "all_gather") {
      const auto call = [&] { MPI_Allgather(MPI_IN_PLACE, 0, MPI_FLOAT, x, part, MPI_FLOAT, MPI_COMM_WORLD); };
      return time_calls(c,
                        {fill, call,
                         [&] {
                           const std::span<const float> all(numbers_);
                           const auto size = static_cast<std::size_t>(part);
                           return is(all.first(size), 0) && is(all.last(size), root);
                         }},
                        barrier);
    }
    throw std::runtime_error("no operation " + c.operation);
  }

 private:
  std::uint32_t rank_ = 0;
  std::uint32_t ranks_ = 0;
  page_vector<float> numbers_, share_;
};

/// The next line, in all ranks; false at the end. MPI waits by looking without a pause, and while others are measured a
/// rank must not need a core, so the ranks that are told look once in a while.
bool next_line(std::uint32_t rank, std::string& line) {
  char text[line_bytes] = {};
  if (rank == 0 && std::getline(std::cin, line)) line.copy(text, line_bytes - 1);
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Ibcast(text, line_bytes, MPI_CHAR, 0, MPI_COMM_WORLD, &request);
  for (int done = 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0;)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  line = text;
  return !line.empty();
}

/// "Open MPI 4.1.4" of "Open MPI v4.1.4, package: ...".
std::string library_name() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  auto name = std::string(text).substr(0, std::string(text).find(','));
  if (const auto v = name.find(" v"); v != std::string::npos) name.erase(v + 1, 1);
  return name;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  sleep_precisely();
  mpi_rank self;
  MPI_Barrier(MPI_COMM_WORLD);
  if (self.rank() == 0) say_line("ready " + library_name());
  for (std::string line; next_line(self.rank(), line);) {
    const auto answer = answer_to(line, [&](const timed_call& c) { return self.run(c); });
    if (self.rank() == 0) say_line(answer);
  }
  MPI_Finalize();
  return 0;
}
