#pragma once
// What all actors of one operating system process share: the actor system, the listener with its proof of the secret,
// the reactor of control connections, block stores and how blocks are fetched, and where gang links meet.
//
// Inside one process everything is found by boot: executors, drivers and their block stores register here, so that a
// block is passed by pointer and a message by actor mail. Other processes are reached by (boot, endpoint).
// Built once at start by the thread that runs the process, and destroyed by it (the end of a CAF system waits for what
// the thread that made it keeps); all functions: any thread, unless they say that they block.

#include <hydrogen/actors/fetches_under_way.hpp>
#include <hydrogen/actors/mail.hpp>
#include <hydrogen/actors/slot_pool.hpp>
#include <hydrogen/actors/wire.hpp>
#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/block_client.hpp>
#include <hydrogen/comm/block_server.hpp>
#include <hydrogen/comm/reactor.hpp>
#include <hydrogen/comm/rendezvous.hpp>
#include <hydrogen/comm/secret.hpp>
#include <hydrogen/data/block_store.hpp>

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace hydrogen::actors {

struct process_options {
  std::string who;                     // "node n1", "driver digits": named in errors of other processes
  boot_id boot = make_boot_id();       // identity of this process for links
  std::optional<comm::secret> secret;  // none: no listener, no connections; everything is in this process
  std::string listen = "127.0.0.1:0";
  comm::connection_options connections;  // heartbeats and limits
};

class process {
 public:
  /// Takes over a reactor that serves connections already, if given.
  static expected<std::unique_ptr<process>> start(process_options, std::unique_ptr<comm::reactor> = nullptr);
  ~process();

  caf::actor_system& system() { return *system_; }
  boot_id boot() const { return options_.boot; }
  /// Where others reach this process; empty without a secret.
  const std::string& endpoint() const { return endpoint_; }
  comm::rendezvous& gang_links() { return *rendezvous_; }
  /// The threads of all executors of this process.
  slot_pool& slots() { return slots_; }
  const std::optional<comm::secret>& secret() const { return options_.secret; }
  const process_options& options() const { return options_; }

  /// Accepts control connections from now on. `on_open` gets the connection once it is there; frames come after it.
  using open_handler = std::function<void(const comm::connection_ptr&)>;
  void serve_control(std::function<std::pair<comm::connection_handlers, open_handler>(const comm::hello&)> handler);

  /// For who repeats what fails, as nodes and executors do among themselves.
  static constexpr duration dial_timeout = 3s;
  /// Opens a control connection; `done` runs on a thread of the reactor's own.
  void connect(const std::string& endpoint, boot_id peer, duration timeout, comm::connection_handlers,
               std::function<void(expected<comm::connection_ptr>)> done);
  comm::connection_ptr adopt(unique_fd, comm::hello peer, comm::connection_handlers);

  // ---- who lives in this process ----
  void add_store(boot_id, std::shared_ptr<data::block_store>);
  void remove_store(boot_id);
  std::shared_ptr<data::block_store> find_store(boot_id) const;
  /// The store of this process's drivers, found under its own boot while a driver holds it. The first one sets the
  /// budget.
  std::shared_ptr<data::block_store> driver_store(std::uint64_t budget);
  void add_executor(boot_id, caf::actor);
  void remove_executor(boot_id);
  caf::actor find_executor(boot_id) const;

  /// Blocks by pointer where they are in this process, over block links elsewhere; in the order asked. Content blocks
  /// that came over a link are kept in `cache` (an executor's own store), if given, and come once for all who ask at a
  /// time. Blocks the calling thread.
  /// Errors name the block that is missing, and who should have had it; `missing`, if given, gets those refs.
  expected<std::vector<data::block_ptr>> fetch(std::span<const data::block_ref>, abort_word&, data::block_store* cache,
                                               std::vector<data::block_ref>* missing);
  /// A process that is not needed any more: closes the connections that are kept for the next fetch from it.
  void forget(boot_id);
  /// Bytes of blocks that other processes fetched from this one; those still on their way are not in it.
  std::uint64_t bytes_served() const { return block_server_ ? block_server_->bytes_served() : 0; }

 private:
  explicit process(process_options);
  void use(std::unique_ptr<comm::reactor>);
  expected<comm::served_block> serve(const comm::block_key&);
  /// Fills those of `which`, except those that another thread fetches now: they come into `later`.
  expected<void> fetch(std::span<const data::block_ref> refs, const std::vector<std::size_t>& which, abort_word&,
                       data::block_store* cache, std::vector<data::block_ptr>& blocks, std::vector<std::size_t>& later,
                       const std::function<void(const data::block_ref&, error)>& lost);

  process_options options_;
  std::string endpoint_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<comm::rendezvous> rendezvous_;
  slot_pool slots_;
  std::unique_ptr<comm::reactor> reactor_;
  std::unique_ptr<comm::block_server> block_server_;
  std::unique_ptr<comm::block_client> block_client_;
  fetches_under_way under_way_;
  mutable std::mutex mutex_;
  std::unordered_map<boot_id, std::shared_ptr<data::block_store>> stores_;
  std::weak_ptr<data::block_store> driver_store_;
  std::unordered_map<boot_id, caf::actor> executors_;
  std::function<std::pair<comm::connection_handlers, open_handler>(const comm::hello&)> control_;
  std::unique_ptr<comm::acceptor> acceptor_;  // last: its thread uses all of the above
};

}  // namespace hydrogen::actors
