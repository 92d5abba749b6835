#include <hydrogen/actors/journal_thread.hpp>

#include "stage.hpp"
#include <doctest/doctest.h>

#include <atomic>
#include <future>

using namespace hydrogen;

namespace {

/// On a disk that a test fills.
class journal_on_full_disk final : public gang::journal {
 public:
  explicit journal_on_full_disk(const std::atomic<bool>& full) : full_(full) {}
  const gang::digest& known() const override { return known_; }
  void append(const gang::record&) override { ++appended_; }
  expected<std::uint64_t> sync() override {
    found_ = full_ ? error{errc::refused, "the disk is full", "journal", {}} : error{errc::none, {}, {}, {}};
    return appended_;
  }
  const error& shortage() const override { return found_; }

 private:
  const std::atomic<bool>& full_;
  gang::digest known_;
  std::uint64_t appended_ = 0;
  error found_{errc::none, {}, {}, {}};
};

}  // namespace

TEST_CASE("a sync says what is durable and whether there is room; while there is none, a sync of nothing looks again") {
  std::atomic<bool> full{true};
  std::promise<gang::admission_event::synced> first, second;
  int calls = 0;  // on the journal's thread alone
  actors::journal_thread journal(std::make_unique<journal_on_full_disk>(full), [&](const auto& news) {
    if (++calls <= 2) (calls == 1 ? first : second).set_value(news);
  });
  journal.append({{1}, gang::term_record{}});
  journal.sync();
  auto news = first.get_future().get();
  CHECK(news.n == 1);
  CHECK(news.shortage.what == "the disk is full");
  full = false;
  journal.sync();
  auto again = second.get_future();
  REQUIRE(again.wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  news = again.get();
  CHECK(news.n == 1);
  CHECK(news.shortage.code == errc::none);
}

TEST_CASE("a sync that was lent and finds the journal closed has nothing left to do") {
  test::stage s;
  s.let_worker_sleep();
  const std::atomic<bool> full{false};
  std::atomic<int> calls{0};
  auto journal = std::make_unique<actors::journal_thread>(std::make_unique<journal_on_full_disk>(full),
                                                          [&](const auto&) { ++calls; });
  std::promise<void> closed;
  {
    const actors::scheduler::helper here(s.system(), true);
    s.tell(0, [&] {
      journal->append({{1}, gang::term_record{}});
      journal->sync();  // lent to this thread
      journal.reset();  // makes durable what was appended
      closed.set_value();
    });
  }
  REQUIRE(closed.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  CHECK(calls == 1);
}
