// Drives a fuzz target without libFuzzer: the corpus as it is, then seeded random mutations of it. Runs are made in a
// child, so that an input that ends it is still there to be kept.
//
//   fuzz_X [--seed N] [--runs N] [--seconds S] [--keep FOLDER] CORPUS...     a run is its seed and its number
//   fuzz_X FILE...                                                           these inputs, once each
#include "mutator.hpp"
#include "target.hpp"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

namespace {

using namespace hydrogen;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t largest_input = 64 << 10;
constexpr auto hangs_after = std::chrono::seconds(60);

/// What the child is at. Shared with the parent.
struct progress {
  std::atomic<std::uint64_t> runs;
  std::size_t size;
  std::uint8_t bytes[largest_input];
};

struct options {
  std::uint64_t seed = 1;
  std::uint64_t runs = UINT64_MAX;
  double seconds = 1e9;
  std::string keep = ".";
  std::vector<std::string> paths;
};

byte_buffer read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = as_byte_view(text).first(std::min(text.size(), largest_input));
  return {bytes.begin(), bytes.end()};
}

[[noreturn]] void usage(const char* program) {
  std::fprintf(stderr, "usage: %s [--seed N] [--runs N] [--seconds S] [--keep FOLDER] CORPUS... | FILE...\n", program);
  std::exit(2);
}

options parse(int count, char** words) {
  options o;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (!word.starts_with("--")) {
      o.paths.push_back(word);
      continue;
    }
    if (i + 1 == count) usage(words[0]);
    const std::string value = words[++i];
    if (word == "--seed") {
      o.seed = std::stoull(value);
    } else if (word == "--runs") {
      o.runs = std::stoull(value);
    } else if (word == "--seconds") {
      o.seconds = std::stod(value);
    } else if (word == "--keep") {
      o.keep = value;
    } else {
      usage(words[0]);
    }
  }
  return o;
}

void run(progress& at, byte_view input) {
  at.size = input.size();
  if (!input.empty()) std::memcpy(at.bytes, input.data(), input.size());
  // A copy of its very size: reading beyond its end is seen.
  const byte_buffer exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(exact.data()), exact.size());
  ++at.runs;
}

void run_all(progress& at, const options& o, const std::vector<byte_buffer>& corpus, bool mutate) {
  const auto end = clock_type::now() + std::chrono::duration<double>(o.seconds);
  for (const auto& input : corpus) run(at, input);
  if (!mutate) return;
  fuzz::mutator mutator(corpus, largest_input);
  for (std::uint64_t n = 0; n < o.runs && clock_type::now() < end; ++n) run(at, mutator.make(o.seed, n));
}

/// Waits for the child; an empty text when it ended well.
std::string outcome(pid_t child, const progress& at) {
  auto seen = at.runs.load();
  auto since = clock_type::now();
  for (;;) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      if (WIFSIGNALED(status)) return std::string("ended by ") + ::strsignal(WTERMSIG(status));
      return WEXITSTATUS(status) == 0 ? "" : "ended with status " + std::to_string(WEXITSTATUS(status));
    }
    if (at.runs != seen) {
      seen = at.runs;
      since = clock_type::now();
    } else if (clock_type::now() - since > hangs_after) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return "hangs";
    }
    ::usleep(2000);
  }
}

}  // namespace

int main(int count, char** words) {
  const auto o = parse(count, words);
  std::vector<byte_buffer> corpus;
  bool mutate = false;
  std::vector<std::filesystem::path> files;
  for (const auto& path : o.paths) {
    if (std::filesystem::is_directory(path)) {
      mutate = true;
      for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
    } else if (std::filesystem::exists(path)) {
      files.emplace_back(path);
    } else {
      std::fprintf(stderr, "%s: no such file or folder\n", path.c_str());
      return 2;
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) corpus.push_back(read(file));
  if (corpus.empty()) usage(words[0]);

  auto* memory = ::mmap(nullptr, sizeof(progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  fuzz::must(memory != MAP_FAILED, "no shared memory");
  auto& at = *new (memory) progress;
  const auto began = clock_type::now();
  const auto child = ::fork();
  fuzz::must(child >= 0, "no process");
  if (child == 0) {
    run_all(at, o, corpus, mutate);
    std::exit(0);
  }
  const auto bad = outcome(child, at);
  const auto name = std::filesystem::path(words[0]).filename().string();
  if (bad.empty()) {
    const auto seconds = std::chrono::duration<double>(clock_type::now() - began).count();
    std::printf("%s: %llu runs in %.1f s, seed %llu\n", name.c_str(), static_cast<unsigned long long>(at.runs.load()),
                seconds, static_cast<unsigned long long>(o.seed));
    return 0;
  }
  const auto file = o.keep + "/" + name + "-seed-" + std::to_string(o.seed) + "-run-" + std::to_string(at.runs);
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(at.bytes), static_cast<long>(at.size));
  std::fprintf(stderr, "%s: %s in run %llu of seed %llu; again with: %s %s\n", name.c_str(), bad.c_str(),
               static_cast<unsigned long long>(at.runs.load()), static_cast<unsigned long long>(o.seed), words[0],
               file.c_str());
  return 1;
}
