#pragma once
// What compiled code looks like to the engine. An operator is one closed chain of dataset transformations; its
// descriptor is a constant in the application's library, its body lives for one task. A body is called once per block,
// never once per row, on the task's slot thread; it reports errors by throwing.

#include <hydrogen/exec/task.hpp>

#include <memory>
#include <string>
#include <typeinfo>

namespace hydrogen::exec {

struct task_environment;

/// Takes the blocks that an operator makes.
class block_output {
 public:
  virtual ~block_output() = default;
  /// `bucket`: the target partition in the output of a shuffle, else 0.
  virtual void put(data::block_ptr block, std::uint32_t bucket) = 0;
  /// False: what comes now is thrown away; a source may stop.
  virtual bool wants_more() const { return true; }
};

/// Where a body runs. Everything in it outlives the body.
struct operator_site {
  const task& what;
  task_environment& environment;
  byte_view parameters;
  byte_view partition_argument;
  block_output& out;
};

class operator_body {
 public:
  virtual ~operator_body() = default;
  /// The next block of the input; called in order. Blocks that are to be used later are kept by their pointer.
  virtual void block(const data::block_ptr&) = 0;
  /// After the last block. A source does all its work here.
  virtual void finish() = 0;
  /// False: further blocks would change nothing.
  virtual bool wants_more() const = 0;
};

struct operator_descriptor {
  std::unique_ptr<operator_body> (*make)(operator_site&);
  const std::type_info* type;  // for messages
};

/// The readable name of a type.
std::string demangled(const char* name);

}  // namespace hydrogen::exec
