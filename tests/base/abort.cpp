#include <hydrogen/base/abort.hpp>

#include <doctest/doctest.h>

#include <thread>

using namespace hydrogen;

TEST_CASE("the first reason wins and callbacks run once") {
  abort_word word;
  int calls = 0;
  auto registration = word.on_abort([&] { ++calls; });
  CHECK_FALSE(word.is_set());
  word.set({errc::cancelled, "first", {}, {}});
  word.set({errc::aborted, "second", {}, {}});
  CHECK(word.is_set());
  CHECK(word.reason().what == "first");
  CHECK(calls == 1);
}

TEST_CASE("a callback registered after the abort runs at once, one that is gone never") {
  abort_word word;
  int early = 0;
  word.on_abort([&] { ++early; }).reset();
  word.set({errc::aborted, "x", {}, {}});
  CHECK(early == 0);
  int late = 0;
  auto registration = word.on_abort([&] { ++late; });
  CHECK(late == 1);
}

TEST_CASE("a futex wait ends at its deadline, or when the word changes") {
  std::atomic<std::uint32_t> word{0};
  CHECK_FALSE(futex_wait(word, 0, now() + 5ms));
  std::thread waker([&] {
    word.store(1);
    futex_wake_all(word);
  });
  for (;;) {
    const auto seen = word.load();
    if (seen == 1) break;
    futex_wait(word, seen, now() + 10s);
  }
  waker.join();
  CHECK(futex_wait(word, 0, never));  // the value differs: returns at once
}
