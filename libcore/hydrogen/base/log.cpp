#include <hydrogen/base/log.hpp>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace hydrogen {
namespace {

thread_local log_scope* innermost = nullptr;

class scope_flag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& dest) override {
    const auto& text = log_scope::text();
    if (text.empty()) return;
    dest.push_back(' ');
    dest.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<scope_flag>(); }
};

/// Keeps lines in the scope of the thread that logs; it writes nothing, so it needs no lock.
class memory_sink final : public spdlog::sinks::sink {
 public:
  void log(const spdlog::details::log_msg& msg) override {
    if (innermost == nullptr) return;
    const auto level = spdlog::level::to_string_view(msg.level);
    log_scope::remember(std::string(level.data(), level.size()) + ": " +
                        std::string(msg.payload.data(), msg.payload.size()));
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
};

}  // namespace

void start_logging(const std::string& node, const std::string& level) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<scope_flag>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%e %L " + node + "%*  %v");
  auto screen = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  screen->set_formatter(std::move(formatter));
  screen->set_level(spdlog::level::from_str(level));
  auto memory = std::make_shared<memory_sink>();
  memory->set_level(spdlog::level::info);
  auto logger = std::make_shared<spdlog::logger>("hydrogen", spdlog::sinks_init_list{screen, memory});
  logger->set_level(std::min(screen->level(), spdlog::level::info));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

log_scope::log_scope(std::string text, std::size_t keep) : text_(std::move(text)), keep_(keep), outer_(innermost) {
  innermost = this;
}

log_scope::~log_scope() {
  innermost = outer_;
}

std::vector<std::string> log_scope::last_lines() const {
  return lines_;
}

const std::string& log_scope::text() {
  static const std::string none;
  return innermost != nullptr ? innermost->text_ : none;
}

void log_scope::remember(std::string line) {
  for (auto* scope = innermost; scope != nullptr; scope = scope->outer_) {
    if (scope->keep_ == 0) continue;
    if (scope->lines_.size() == scope->keep_) scope->lines_.erase(scope->lines_.begin());
    scope->lines_.push_back(line);
  }
}

}  // namespace hydrogen
