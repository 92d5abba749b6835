@0xc7f2e0b5a1d94368;
# The header of a frame on a gang link. The numbers follow it as a data segment of `length` bytes, never packed.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("hydrogen::schema");

struct FrameHeader {
  term @0 :UInt64;       # with `counter`: the attempt, the fencing token
  counter @1 :UInt64;
  call @2 :UInt64;       # number of the collective call in this attempt, from 0
  plan @3 :UInt64;       # hash of what is called: site, operation, element type, size
  chunk @4 :UInt32;      # number of this piece within its phase
  phase @5 :UInt16;      # step of the algorithm
  element @6 :UInt8;     # element type
  offset @7 :UInt64;     # bytes from the start of the buffer that the piece belongs to
  length @8 :UInt64;     # bytes of the payload
  total @9 :UInt64;      # bytes of the whole, for pieces whose size the receiver does not know
}
