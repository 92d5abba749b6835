#include <hydrogen/gang/record.hpp>
#include <hydrogen/schema/journal.capnp.h>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <array>

namespace hydrogen::gang {
namespace {

void put(schema::RequestId::Builder out, const request_id& x) {
  out.setRunHigh(x.run.high);
  out.setRunLow(x.run.low);
  out.setJob(x.job);
  out.setStage(x.stage);
  out.setK(x.k);
}

request_id get(schema::RequestId::Reader in) {
  return {{in.getRunHigh(), in.getRunLow()}, in.getJob(), in.getStage(), in.getK()};
}

void put(schema::AttemptRef::Builder out, const attempt_ref& x) {
  put(out.initRequest(), x.request);
  out.setTerm(x.attempt.term.value);
  out.setCounter(x.attempt.counter);
}

attempt_ref get(schema::AttemptRef::Reader in) {
  return {get(in.getRequest()), {{in.getTerm()}, in.getCounter()}};
}

void put(schema::SlotRequest::Builder out, const slot_request& x) {
  put(out.initId(), x.id);
  out.setKind(static_cast<std::uint8_t>(x.kind));
  out.setLeast(x.least);
  out.setMost(x.most);
  auto app = out.initApplication();
  app.setName(x.app.name);
  app.setLibrary(x.app.library);
  app.setHashHigh(x.app.hash.high);
  app.setHashLow(x.app.hash.low);
  app.setSize(x.app.size);
  app.setDriver(x.app.driver.value);
  app.setEndpoint(x.app.endpoint);
  out.setLabel(x.label);
  auto avoid = out.initAvoidNodes(static_cast<unsigned>(x.avoid_nodes.size()));
  for (unsigned i = 0; i < avoid.size(); ++i) avoid.set(i, x.avoid_nodes[i]);
  out.setPriority(x.priority);
  out.setPlacement(static_cast<std::uint8_t>(x.needs.how));
  out.setMemory(x.needs.each.memory);
  auto devices = out.initDevices(static_cast<unsigned>(x.needs.each.devices.size()));
  for (unsigned i = 0; i < devices.size(); ++i) {
    devices[i].setKind(x.needs.each.devices[i].kind);
    devices[i].setCount(x.needs.each.devices[i].count);
    devices[i].setSharedBy(x.needs.each.devices[i].shared_by);
  }
  auto labels = out.initLabels(static_cast<unsigned>(x.needs.labels.size()));
  for (unsigned i = 0; i < labels.size(); ++i) labels.set(i, x.needs.labels[i]);
}

slot_request get(schema::SlotRequest::Reader in) {
  slot_request x;
  x.id = get(in.getId());
  x.kind = in.getKind() == 0 ? request_kind::parallel : request_kind::gang;
  x.least = in.getLeast();
  x.most = in.getMost();
  const auto app = in.getApplication();
  x.app.run = x.id.run;
  x.app.name = app.getName().cStr();
  x.app.library = app.getLibrary().cStr();
  x.app.hash = {app.getHashHigh(), app.getHashLow()};
  x.app.size = app.getSize();
  x.app.driver = {app.getDriver()};
  x.app.endpoint = app.getEndpoint().cStr();
  x.label = in.getLabel().cStr();
  for (const auto node : in.getAvoidNodes()) x.avoid_nodes.emplace_back(node.cStr());
  x.priority = in.getPriority();
  x.needs.how = in.getPlacement() == 1   ? placement::spread
                : in.getPlacement() == 2 ? placement::one_node
                                         : placement::pack;
  x.needs.each.memory = in.getMemory();
  for (const auto d : in.getDevices()) {
    x.needs.each.devices.push_back({d.getKind().cStr(), d.getCount(), std::max(1U, d.getSharedBy())});
  }
  for (const auto label : in.getLabels()) x.needs.labels.emplace_back(label.cStr());
  return x;
}

void put(schema::Member::Builder out, const member& x) {
  out.setNode(x.node);
  out.setAgent(x.agent.value);
  out.setExecutor(x.executor.value);
  out.setEndpoint(x.endpoint);
  out.setSlots(x.slots);
  auto ranks = out.initRanks(static_cast<unsigned>(x.ranks.size()));
  for (unsigned i = 0; i < ranks.size(); ++i) ranks.set(i, x.ranks[i]);
}

member get(schema::Member::Reader in) {
  member x;
  x.node = in.getNode().cStr();
  x.agent = {in.getAgent()};
  x.executor = {in.getExecutor()};
  x.endpoint = in.getEndpoint().cStr();
  x.slots = in.getSlots();
  for (const auto rank : in.getRanks()) x.ranks.push_back(rank);
  return x;
}

struct put_body {
  schema::JournalRecord::Builder out;
  void operator()(const term_record&) { out.setBegin(); }
  void operator()(const submitted_record& x) {
    auto s = out.initSubmitted();
    put(s.initRequest(), x.request);
    s.setPlace(x.place);
  }
  void operator()(const go_record& x) {
    auto g = out.initGo();
    put(g.initRef(), x.ref);
    auto members = g.initMembers(static_cast<unsigned>(x.members.size()));
    for (unsigned i = 0; i < members.size(); ++i) put(members[i], x.members[i]);
  }
  void operator()(const closed_record& x) {
    auto c = out.initClosed();
    put(c.initRef(), x.ref);
    c.setReason(static_cast<std::uint8_t>(x.reason));
    c.setCode(static_cast<std::uint8_t>(x.why.code));
    c.setWhat(x.why.what);
    c.setWhere(x.why.where);
    c.setHint(x.why.hint);
  }
  void operator()(const cancelled_record& x) { put(out.initCancelled(), x.request); }
  void operator()(const run_over_record& x) {
    auto run = out.initRunOver();
    run.setHigh(x.run.high);
    run.setLow(x.run.low);
  }
  void operator()(const drain_record& x) {
    auto drain = out.initDrain();
    drain.setNode(x.node);
    drain.setOn(x.on);
  }
};

}  // namespace

byte_buffer encode_record(const record& x) {
  // Its own memory for a message would be cleared as a whole, most of it for nothing. It leaves this one clear.
  thread_local std::array<capnp::word, 1024> scratch{};
  capnp::MallocMessageBuilder message(kj::arrayPtr(scratch.data(), scratch.size()));
  auto root = message.initRoot<schema::JournalRecord>();
  root.setTerm(x.term.value);
  std::visit(put_body{root}, x.body);
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = words.asBytes();
  const auto* first = reinterpret_cast<const std::byte*>(bytes.begin());
  return {first, first + bytes.size()};
}

expected<record> decode_record(byte_view bytes) {
  const auto bad = [&](const std::string& why) {
    return fail(errc::bad_input,
                "a journal record of " + std::to_string(bytes.size()) + " bytes cannot be read: " + why);
  };
  if (bytes.size() % sizeof(capnp::word) != 0) return bad("its size is no multiple of 8");
  try {
    // A copy, because the reader needs words that are aligned.
    auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
    if (!bytes.empty()) std::memcpy(words.begin(), bytes.data(), bytes.size());
    // Pointers of a damaged record may lead to the same words again and again, and lists of nothing be of any length.
    capnp::ReaderOptions limits;
    limits.traversalLimitInWords = 4 * words.size();
    capnp::FlatArrayMessageReader reader(words, limits);
    const auto root = reader.getRoot<schema::JournalRecord>();
    record x;
    x.term = {root.getTerm()};
    switch (root.which()) {
      case schema::JournalRecord::BEGIN:
        x.body = term_record{};
        return x;
      case schema::JournalRecord::SUBMITTED: {
        const auto s = root.getSubmitted();
        x.body = submitted_record{get(s.getRequest()), s.getPlace()};
        return x;
      }
      case schema::JournalRecord::GO: {
        go_record go;
        go.ref = get(root.getGo().getRef());
        for (const auto m : root.getGo().getMembers()) go.members.push_back(get(m));
        x.body = std::move(go);
        return x;
      }
      case schema::JournalRecord::CLOSED: {
        const auto c = root.getClosed();
        if (c.getReason() > static_cast<std::uint8_t>(close_reason::failed)) return bad("unknown reason of an end");
        if (c.getCode() > static_cast<std::uint8_t>(errc::internal)) return bad("unknown code of an error");
        x.body = closed_record{
            get(c.getRef()),
            static_cast<close_reason>(c.getReason()),
            {static_cast<errc>(c.getCode()), c.getWhat().cStr(), c.getWhere().cStr(), c.getHint().cStr()}};
        return x;
      }
      case schema::JournalRecord::CANCELLED:
        x.body = cancelled_record{get(root.getCancelled())};
        return x;
      case schema::JournalRecord::RUN_OVER: {
        const auto run = root.getRunOver();
        x.body = run_over_record{{run.getHigh(), run.getLow()}};
        return x;
      }
      case schema::JournalRecord::DRAIN:
        x.body = drain_record{root.getDrain().getNode().cStr(), root.getDrain().getOn()};
        return x;
    }
    return bad("a kind that this build does not know");
  } catch (const kj::Exception& e) {
    return bad(e.getDescription().cStr());
  }
}

}  // namespace hydrogen::gang
