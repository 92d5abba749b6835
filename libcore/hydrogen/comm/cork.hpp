#pragma once
// While one is open, frames that this thread sends on control connections wait, and leave with one write per connection
// when it closes. For whoever is about to send several at once. Nested ones do nothing; frames of other threads on the
// same connection take the waiting ones along, so the order of frames is that of the calls of `send`.

namespace hydrogen::comm {

class cork {
 public:
  cork();
  ~cork();
  cork(const cork&) = delete;
  cork& operator=(const cork&) = delete;

 private:
  const bool outer_;
};

}  // namespace hydrogen::comm
