#pragma once
// The operators of this process, one registry for all libraries in it. Each library's static initialisers add their
// descriptors when it is loaded; `bind_library` then says under which content hash the library is known. An operator's
// id is (that hash, offset of the descriptor from the load base): unique, and the same in every process. Mangled names
// would not do: two files with the same function in an anonymous namespace collide.
//
// The one mutable global of the project: a library's initialisers run inside dlopen, with no way to pass an object to
// them. Any thread.

#include <hydrogen/exec/operator.hpp>

#include <map>
#include <mutex>
#include <set>

namespace hydrogen::exec {

class operator_registry {
 public:
  static operator_registry& instance();

  /// From static initialisers only. The descriptor must lie in the library's data.
  void add(const operator_descriptor* descriptor);

  /// The library loaded at `base` is known under `hash` from now on. Loading the same file again is no error.
  void bind_library(const void* base, hash128 hash);

  /// errc::mismatch when the operator's library, or the offset in it, is not known here.
  expected<const operator_descriptor*> find(const operator_id& id) const;

  /// The id of a descriptor. One of the program itself, which nobody binds, gets the hash of the program's file.
  expected<operator_id> id_of(const operator_descriptor* descriptor);

 private:
  struct library {
    std::set<std::uint64_t> offsets;
    bool bound = false;
    hash128 hash;
    std::string path;
  };
  mutable std::mutex mutex_;
  std::map<const std::byte*, library> libraries_;  // by load base
};

/// The content hash of the program that runs: the library hash of a program with its own `main`, and of tests.
/// Binds the program's operators to it.
hash128 bind_program();

namespace registry_detail {
struct registrar {
  explicit registrar(const operator_descriptor* d) { operator_registry::instance().add(d); }
};
template <class Body>
std::unique_ptr<operator_body> make_body(operator_site& site) {
  return std::make_unique<Body>(site);
}
}  // namespace registry_detail

/// Mentioning `registered<Body>::descriptor` anywhere in a library registers Body when the library is loaded.
template <class Body>
struct registered {
  static const operator_descriptor* descriptor() {
    (void)&registrar;
    return &value;
  }

 private:
  static constexpr operator_descriptor value{&registry_detail::make_body<Body>, &typeid(Body)};
  static inline const registry_detail::registrar registrar{&value};
};

}  // namespace hydrogen::exec
