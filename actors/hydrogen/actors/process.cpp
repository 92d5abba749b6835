#include <hydrogen/actors/process.hpp>
#include <hydrogen/actors/scheduler.hpp>

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstring>
#include <numeric>

namespace hydrogen::actors {
namespace {

static_assert(sizeof(data::block_id) == sizeof(comm::block_key));

comm::block_key key_of(const data::block_id& id) {
  comm::block_key key;
  std::memcpy(key.data(), &id, sizeof id);
  return key;
}

data::block_id id_of(const comm::block_key& key) {
  data::block_id id;
  std::memcpy(&id, key.data(), sizeof id);
  return id;
}

data::block_ptr as_block(comm::fetched_block&& fetched) {
  auto block = std::make_shared<data::block>();
  block->bytes = fetched.bytes();
  block->owner = std::move(fetched.memory);
  block->rows = fetched.rows;
  block->type_code = fetched.type_code;
  block->rows_are = static_cast<data::layout>(fetched.layout);
  return block;
}

}  // namespace

peer_key next_peer_key() {
  static std::atomic<peer_key> next{1};
  return next.fetch_add(1);
}

void end_process_with(const caf::actor& actor, std::string what) {
  actor->attach_functor([what = std::move(what)](const caf::error& reason) {
    if (reason == caf::exit_reason::normal || reason == caf::error{}) return;
    spdlog::critical("the {} actor ended by an error (out of threads or memory?); its process ends", what);
    spdlog::shutdown();
    _exit(1);
  });
}

process::process(process_options options) : options_(std::move(options)) {}

expected<std::unique_ptr<process>> process::start(process_options options, std::unique_ptr<comm::reactor> reactor) {
  std::unique_ptr<process> self(new process(std::move(options)));
  self->config_.load<scheduler>();
  self->system_ = std::make_unique<caf::actor_system>(self->config_);
  self->system_->await_actors_before_shutdown(true);
  comm::rendezvous_options links;
  links.table = comm::tuning_of_machine();
  self->rendezvous_ = std::make_unique<comm::rendezvous>(self->options_.secret, links);
  if (reactor) self->use(std::move(reactor));
  if (!self->options_.secret) return self;

  if (!self->reactor_) self->use(std::make_unique<comm::reactor>());
  self->block_client_ = std::make_unique<comm::block_client>(*self->options_.secret, self->options_.boot);
  self->block_server_ =
      std::make_unique<comm::block_server>([p = self.get()](const comm::block_key& key) { return p->serve(key); });
  auto acceptor = comm::acceptor::listen(
      self->options_.listen, *self->options_.secret, self->options_.boot,
      [p = self.get()](unique_fd fd, comm::hello peer) {
        switch (peer.purpose) {
          case comm::link_purpose::gang:
          case comm::link_purpose::memory:
            p->rendezvous_->accepted(std::move(fd), std::move(peer));
            return;
          case comm::link_purpose::block:
            p->block_server_->accepted(std::move(fd), std::move(peer));
            return;
          case comm::link_purpose::control:
            break;
        }
        std::function<std::pair<comm::connection_handlers, open_handler>(const comm::hello&)> serve;
        {
          std::lock_guard lock(p->mutex_);
          serve = p->control_;
        }
        if (!serve) return;  // nobody to talk to yet: the peer dials again
        auto [handlers, open] = serve(peer);
        auto connection =
            p->reactor_->adopt(std::move(fd), std::move(peer), std::move(handlers), p->options_.connections);
        if (open) open(connection);
      });
  if (!acceptor) return unexpected(std::move(acceptor.error()));
  self->acceptor_ = std::move(*acceptor);
  self->endpoint_ = self->acceptor_->endpoint();
  return self;
}

void process::use(std::unique_ptr<comm::reactor> reactor) {
  reactor_ = std::move(reactor);
  // The actors that a round of frames has woken run right behind it, and what they say leaves together.
  reactor_->around_rounds([this](const std::function<void()>& deliver) {
    const scheduler::helper actors(*system_);
    deliver();
  });
}

process::~process() {
  acceptor_.reset();
  block_server_.reset();
  // Its dial threads may adopt one more connection until they are joined, so the pointer stays valid until then.
  delete reactor_.get();
  static_cast<void>(reactor_.release());
  {
    std::lock_guard lock(mutex_);
    executors_.clear();
    stores_.clear();
    control_ = nullptr;
  }
  slots_.stop();  // its threads wake actors
  system_.reset();
}

void process::serve_control(
    std::function<std::pair<comm::connection_handlers, open_handler>(const comm::hello&)> handler) {
  std::lock_guard lock(mutex_);
  control_ = std::move(handler);
}

void process::connect(const std::string& endpoint, boot_id peer, duration timeout, comm::connection_handlers handlers,
                      std::function<void(expected<comm::connection_ptr>)> done) {
  if (!reactor_) {
    done(fail(errc::refused, "this process has no cluster secret and so no connections", endpoint));
    return;
  }
  comm::hello mine{comm::link_purpose::control, options_.boot, peer, options_.who, this->endpoint(), {}};
  reactor_->connect(
      endpoint, *options_.secret, mine, now() + timeout,
      [this, endpoint, peer, handlers = std::move(handlers), done = std::move(done)](expected<unique_fd> fd) mutable {
        if (!fd) return done(unexpected(std::move(fd.error())));
        comm::hello other{comm::link_purpose::control, peer, options_.boot, "process at " + endpoint, endpoint, {}};
        done(reactor_->adopt(std::move(*fd), std::move(other), std::move(handlers), options_.connections));
      });
}

comm::connection_ptr process::adopt(unique_fd fd, comm::hello peer, comm::connection_handlers handlers) {
  if (!reactor_) use(std::make_unique<comm::reactor>());
  return reactor_->adopt(std::move(fd), std::move(peer), std::move(handlers), options_.connections);
}

void process::add_store(boot_id boot, std::shared_ptr<data::block_store> store) {
  std::lock_guard lock(mutex_);
  stores_[boot] = std::move(store);
}

void process::remove_store(boot_id boot) {
  std::lock_guard lock(mutex_);
  stores_.erase(boot);
}

std::shared_ptr<data::block_store> process::find_store(boot_id boot) const {
  std::lock_guard lock(mutex_);
  if (boot == options_.boot) {
    if (auto mine = driver_store_.lock()) return mine;
  }
  const auto at = stores_.find(boot);
  return at == stores_.end() ? nullptr : at->second;
}

std::shared_ptr<data::block_store> process::driver_store(std::uint64_t budget) {
  std::lock_guard lock(mutex_);
  auto store = driver_store_.lock();
  if (!store) driver_store_ = store = std::make_shared<data::block_store>(budget);
  return store;
}

void process::add_executor(boot_id boot, caf::actor actor) {
  std::lock_guard lock(mutex_);
  executors_[boot] = std::move(actor);
}

void process::remove_executor(boot_id boot) {
  std::lock_guard lock(mutex_);
  executors_.erase(boot);
}

caf::actor process::find_executor(boot_id boot) const {
  std::lock_guard lock(mutex_);
  const auto at = executors_.find(boot);
  return at == executors_.end() ? caf::actor() : at->second;
}

void process::forget(boot_id which) {
  if (block_client_) block_client_->forget(which);
}

expected<comm::served_block> process::serve(const comm::block_key& key) {
  const auto id = id_of(key);
  std::vector<std::shared_ptr<data::block_store>> stores;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [boot, store] : stores_) stores.push_back(store);
    if (auto mine = driver_store_.lock()) stores.push_back(std::move(mine));
  }
  for (const auto& store : stores) {
    if (auto block = store->get(id)) {
      return comm::served_block{
          block, block->bytes, block->rows, block->type_code, static_cast<std::uint8_t>(block->rows_are), 0};
    }
  }
  return fail(errc::not_found, "block " + to_string(id) + " is not here", options_.who);
}

expected<std::vector<data::block_ptr>> process::fetch(std::span<const data::block_ref> refs, abort_word& abort,
                                                      data::block_store* cache, std::vector<data::block_ref>* missing) {
  std::vector<data::block_ptr> blocks(refs.size());
  error problem{errc::none, {}, {}, {}};
  const auto lost = [&](const data::block_ref& ref, error why) {
    if (problem.code == errc::none) problem = std::move(why);
    if (missing != nullptr) missing->push_back(ref);
  };
  std::vector<std::size_t> todo(refs.size());
  std::iota(todo.begin(), todo.end(), 0);
  while (!todo.empty()) {
    // What another thread of this executor fetches now is looked for again when it is done.
    std::vector<std::size_t> later;
    if (auto done = fetch(refs, todo, abort, cache, blocks, later, lost); !done) return unexpected(done.error());
    if (!later.empty()) under_way_.wait(*cache, refs[later.front()].info.id, abort);
    if (abort.is_set() && !later.empty()) return unexpected(abort.reason());
    todo = std::move(later);
  }
  if (problem.code != errc::none) return unexpected(std::move(problem));
  return blocks;
}

expected<void> process::fetch(std::span<const data::block_ref> refs, const std::vector<std::size_t>& which,
                              abort_word& abort, data::block_store* cache, std::vector<data::block_ptr>& blocks,
                              std::vector<std::size_t>& later,
                              const std::function<void(const data::block_ref&, error)>& lost) {
  std::map<std::pair<boot_id, std::string>, std::vector<std::size_t>> elsewhere;
  std::optional<fetches_under_way::claims> claims;
  if (cache != nullptr) claims.emplace(under_way_, *cache);
  for (const auto i : which) {
    const auto& ref = refs[i];
    if ((blocks[i] = ref.info.here)) continue;
    if (cache != nullptr && (blocks[i] = cache->get(ref.info.id))) continue;
    if (const auto store = find_store(ref.at.boot)) {
      if (!(blocks[i] = store->get(ref.info.id))) {
        lost(ref, {errc::not_found, "block " + to_string(ref.info.id) + " is not in its store any more", {}, {}});
      }
    } else if (ref.at.endpoint.empty() || !block_client_) {
      lost(ref, {errc::disconnected,
                 "the executor " + to_string(ref.at.boot) + " that held block " + to_string(ref.info.id) + " is gone",
                 {},
                 {}});
    } else if (claims && ref.info.id.is_content() && !claims->add(ref.info.id)) {
      later.push_back(i);
    } else if (cache != nullptr && ref.info.id.is_content() && (blocks[i] = cache->get(ref.info.id))) {
      // It came between the first look and the claim.
    } else {
      elsewhere[{ref.at.boot, ref.at.endpoint}].push_back(i);
    }
  }
  for (const auto& [where, indices] : elsewhere) {
    std::vector<comm::block_key> keys;
    for (const auto i : indices) keys.push_back(key_of(refs[i].info.id));
    auto fetched = block_client_->fetch(where.second, where.first, keys, &abort, 30s);
    if (!fetched) {
      if (abort.is_set()) return unexpected(abort.reason());
      for (const auto i : indices) lost(refs[i], fetched.error());
      continue;
    }
    for (std::size_t k = 0; k < indices.size(); ++k) {
      const auto i = indices[k];
      blocks[i] = as_block(std::move((*fetched)[k]));
      if (cache != nullptr && refs[i].info.id.is_content()) {
        if (auto kept = cache->put(refs[i].info.id, blocks[i]); !kept) return unexpected(std::move(kept.error()));
      }
    }
  }
  return {};
}

}  // namespace hydrogen::actors
