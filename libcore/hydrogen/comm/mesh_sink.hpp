#pragma once
// How a rank judges the frames of one of its links; of the mesh alone.

#include <hydrogen/comm/mesh.hpp>

namespace hydrogen::comm {

/// For the current call. Its errors are final; other errors of `receive` are the link's.
class mesh::sink final : public link_sink {
 public:
  /// Without a call it looks around (`look_around`), perhaps to the end of the link.
  sink(mesh& m, exchange* current, std::uint32_t from, bool to_the_end = false)
      : mesh_(m), current_(current), from_(from), to_the_end_(to_the_end) {}

  expected<verdict> begin(const frame_header&, mutable_byte_view& where) override;
  expected<void> end(const frame_header&) override;
  bool decided() const { return decided_; }

 private:
  expected<verdict> take_text(const frame_header&, std::size_t most, mutable_byte_view& where);
  expected<verdict> place(const frame_header&, mutable_byte_view& where);
  /// The sender waits for this rank in a call that it has not come to.
  verdict hold();
  /// The sender has not begun the call of the whole that this rank is in.
  bool is_behind(const frame_header&) const;
  /// A piece of a call that this rank has not come to: the sender waits for it there. If it has begun what this rank
  /// is in, this rank will come.
  expected<verdict> look_at(const frame_header&);
  std::string told(const frame_header&) const;
  unexpected decide(error why);
  unexpected refuse(const frame_header&, const std::string& why);
  error reason() const;

  mesh& mesh_;
  exchange* current_;
  std::uint32_t from_;
  bool to_the_end_;
  bool decided_ = false;
};

}  // namespace hydrogen::comm
