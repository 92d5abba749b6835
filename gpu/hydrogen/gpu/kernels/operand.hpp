#pragma once
// What the functions here take beside buffers of one type, and how they check what they are given. All of them may be
// called by the thread that enqueues to the stream; they never wait. What a kernel computes is in work.hpp.
//
// Refused with `failure` (bad_input), which names the kernel and both sizes, before anything is enqueued: shapes that
// do not fit, memory of another device than the stream's (pinned memory is everybody's), and an output that overlaps
// an input or another output, unless it is the same elements and work.hpp says that it may be.

#include <hydrogen/gpu/stream.hpp>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <type_traits>

namespace hydrogen::gpu::kernels {

/// A buffer of any type of number. Does not keep its memory.
struct operand {
  template <class T>
  operand(const char* name, const buffer<T>& b)
      : name(name),
        at(const_cast<std::remove_const_t<T>*>(b.data())),
        n(b.size()),
        type(element_of<std::remove_const_t<T>>),
        owner(b.owner()) {}

  std::size_t bytes() const { return n * size_of(type); }

  const char* name;
  void* at;
  std::size_t n;
  element type;
  memory* owner;
};

/// Of the same elements, an output is its input.
enum class in_place : bool { refused, allowed };

/// One kernel's checks: `checker("axpy", s).size(y, n).apart(...)`; `kernel` lives for ever.
class checker {
 public:
  checker(const char* kernel, const stream& s) : kernel_(kernel), stream_(s) {}

  /// Each is memory that this stream's device reaches.
  const checker& here(std::initializer_list<operand> all) const;
  /// `what` says where n is from: "x has 3 elements, y has 4".
  const checker& same_size(const operand& a, const operand& b) const;
  const checker& size(const operand& a, std::size_t n) const;
  /// The output and each of the others share nothing; or are the same elements, if that is allowed.
  const checker& apart(const operand& output, std::initializer_list<operand> others,
                       in_place same = in_place::refused) const;
  /// a * b, which must fit the address space.
  std::size_t product(std::size_t a, std::size_t b) const;
  [[noreturn]] void refuse(const std::string& why) const;

 private:
  const char* kernel_;
  const stream& stream_;
};

}  // namespace hydrogen::gpu::kernels
