#pragma once
// Where a function with many results puts them. It lives for one call of the function; text given to it is used before
// the call returns.

#include <hydrogen/data/row.hpp>

#include <utility>

namespace hydrogen::exec {

template <class U>
class emitter {
 public:
  using row_type = U;

  template <class Next>
  explicit emitter(Next& next)
      : target_(&next), put_([](void* to, data::view_of<U>&& row) { (*static_cast<Next*>(to))(std::move(row)); }) {}
  emitter(const emitter&) = delete;

  /// One row, or for rows with text its view.
  void operator()(data::view_of<U> row) { put_(target_, std::move(row)); }

  /// The fields of one row: `out(word, 1)`.
  template <class A, class B, class... More>
  void operator()(A&& a, B&& b, More&&... more) {
    put_(target_, data::view_of<U>{std::forward<A>(a), std::forward<B>(b), std::forward<More>(more)...});
  }

 private:
  void* target_;
  void (*put_)(void*, data::view_of<U>&&);
};

}  // namespace hydrogen::exec
