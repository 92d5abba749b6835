@0xb1d63f6a0c5e7a42;
# The records of the coordinator's journal. In the file each is preceded by a header with length and checksums; see
# libcore/hydrogen/gang/journal_format.hpp.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("hydrogen::schema");

struct RequestId {
  runHigh @0 :UInt64;
  runLow @1 :UInt64;
  job @2 :UInt32;
  stage @3 :UInt32;
  k @4 :UInt32;
}

struct AttemptRef {
  request @0 :RequestId;
  term @1 :UInt64;       # 0: the request never had an attempt
  counter @2 :UInt64;
}

struct Application {
  name @0 :Text;
  library @1 :Text;      # path as the driver loaded it
  hashHigh @2 :UInt64;   # content of the library
  hashLow @3 :UInt64;
  size @4 :UInt64;
  driver @5 :UInt64;     # boot
  endpoint @6 :Text;     # of the driver, the job's endpoint
}

struct SlotRequest {
  id @0 :RequestId;
  kind @1 :UInt8;        # 0 parallel, 1 gang
  least @2 :UInt32;
  most @3 :UInt32;
  application @4 :Application;
  label @5 :Text;
  avoidNodes @6 :List(Text);
  priority @7 :Int32;
  placement @8 :UInt8;   # 0 pack, 1 spread, 2 one node
  memory @9 :UInt64;     # bytes that each slot needs
  devices @10 :List(DeviceCount);
  labels @11 :List(Text);
}

struct DeviceCount {
  kind @0 :Text;
  count @1 :UInt32;      # that each slot needs, or
  sharedBy @2 :UInt32;   # so many slots together; 0: each
}

struct Member {
  node @0 :Text;
  agent @1 :UInt64;      # boots
  executor @2 :UInt64;
  endpoint @3 :Text;
  slots @4 :UInt32;
  ranks @5 :List(UInt32);
}

struct Submitted {
  request @0 :SlotRequest;
  place @1 :UInt64;
}

struct Go {
  ref @0 :AttemptRef;
  members @1 :List(Member);
}

struct Closed {
  ref @0 :AttemptRef;
  reason @1 :UInt8;      # 0 again, 1 released, 2 cancelled, 3 failed
  code @2 :UInt8;        # failed: what the job is told
  what @3 :Text;
  where @4 :Text;
  hint @5 :Text;
}

struct RunId {
  high @0 :UInt64;
  low @1 :UInt64;
}

struct Drain {
  node @0 :Text;
  on @1 :Bool;
}

struct JournalRecord {
  term @0 :UInt64;       # of the coordinator that wrote it
  union {
    begin @1 :Void;      # Term: a coordinator began
    submitted @2 :Submitted;
    go @3 :Go;
    closed @4 :Closed;
    cancelled @5 :RequestId;
    runOver @6 :RunId;
    drain @7 :Drain;
  }
}
