#include <hydrogen/actors/coordinator_link.hpp>
#include <hydrogen/actors/node.hpp>

#include <spdlog/spdlog.h>

namespace hydrogen::actors {
namespace {

constexpr duration executors_end_within = 10s;

}  // namespace

expected<std::unique_ptr<node>> node::start(process& home, node_options options) {
  std::unique_ptr<node> self(new node(home));
  if (options.coordinator) {
    std::unique_ptr<gang::journal> journal;
    if (options.journal_dir.empty()) {
      journal = gang::open_memory_journal();
    } else {
      auto opened = gang::open_file_journal(options.journal_dir);
      if (!opened) return unexpected(std::move(opened.error()));
      journal = std::move(*opened);
    }
    self->coordinator_ = spawn_coordinator(home.system(), options.admission, std::move(journal));
    home.serve_control([c = self->coordinator_](const comm::hello& peer) { return coordinator_peer(c, peer); });
  }
  if (options.agent) self->add_agent(options);
  return self;
}

void node::add_agent(const node_options& options) {
  auto agent = spawn_agent(home_, options.reservation, options.executors, options.host);
  if (coordinator_) {
    const auto key = next_peer_key();
    attach_peer hello{key, options.name, {}, {}, {}, {}};
    hello.to_agent = [to = agent.actor](gang::to_agent&& m) {
      caf::anon_send(to, order_mail{through_codec(std::move(m))});
    };
    caf::anon_send(coordinator_, std::move(hello));
    caf::anon_send(agent.actor, coordinator_attached{[to = coordinator_, key](gang::from_agent&& m) {
                     caf::anon_send(to, agent_mail{key, through_codec(std::move(m))});
                   }});
  } else {
    coordinator_link_handlers handlers;
    handlers.connected = [to = agent.actor](const comm::connection_ptr& link) {
      caf::anon_send(to, coordinator_attached{
                             [link](const gang::from_agent& m) { link->send(make_frame(frame_kind::from_agent, m)); }});
    };
    handlers.frame = [to = agent.actor](byte_buffer frame) {
      auto message = read_frame<gang::to_agent>(frame);
      if (kind_of(frame) == frame_kind::to_agent && message)
        caf::anon_send(to, order_mail{std::move(*message)});
      else
        spdlog::error("the coordinator sent a frame that an agent does not understand");
    };
    handlers.lost = [to = agent.actor](const error& why) { caf::anon_send(to, coordinator_detached{why}); };
    link_ = spawn_coordinator_link(home_, options.coordinator_address, std::move(handlers));
  }
  agents_.push_back(std::move(agent));
}

void node::attach(const std::shared_ptr<driver>& who) {
  invariant(static_cast<bool>(coordinator_), "this node hosts no coordinator");
  const auto key = next_peer_key();
  attach_peer hello{key, "driver", {}, {}, {}, {}};
  hello.to_job = [to = std::weak_ptr(who)](gang::to_job&& m) {
    if (auto d = to.lock()) d->deliver(through_codec(std::move(m)));
  };
  caf::anon_send(coordinator_, std::move(hello));
  who->attach([to = coordinator_, key](gang::from_job&& m) {
    caf::anon_send(to, driver_mail{key, through_codec(std::move(m))});
  });
}

node::~node() {
  if (link_) caf::anon_send(link_, stop_mail{});
  for (auto& agent : agents_) agent.host->shut_down(executors_end_within);
  for (auto& agent : agents_) caf::anon_send(agent.actor, stop_mail{});
  home_.serve_control(nullptr);
  if (coordinator_) caf::anon_send(coordinator_, stop_mail{});
}

}  // namespace hydrogen::actors
