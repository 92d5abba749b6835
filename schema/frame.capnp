@0xc7f2e0b5a1d94368;
# A frame on a gang link: a complete Cap'n Proto message in the standard stream framing, with exactly two segments.
# The first holds this struct and has a fixed size; the second is the payload (empty for a frame without numbers),
# which the writer refers to and the reader receives straight into its place. Never packed. docs: data plane.
#
#   | segment table, 16 B | root, struct, far-pointer landing pad: 104 B | payload, padded to 8 B |

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("hydrogen::schema");

struct FrameHeader {
  term @0 :UInt64;       # with `counter`: the attempt; with `gang`: the fencing token
  counter @1 :UInt64;
  gang @2 :UInt64;       # hash of the gang's request id
  call @3 :UInt64;       # number of the collective call in this attempt; the join is 0
  plan @4 :UInt64;       # hash of what is called: site, operation, element type, size
  offset @5 :UInt64;     # bytes from the start of the buffer that the piece belongs to
  length @6 :UInt32;     # bytes of the payload, without padding; at most 1 MiB
  total @7 :UInt64;      # bytes of the whole, for pieces whose size the receiver does not know; ask, answer: a number
  chunk @8 :UInt32;      # number of this piece within its phase
  phase @9 :UInt16;      # step of the algorithm
  kind @10 :UInt8;       # 1 describe (text of a plan), 2 piece, 3 bye (last frame of a rank; the reason), 4 waiting
                         # (a note of a rank that waits), 5 ask (who waits is to say so), 6 answer (a rank waits)
  code @11 :UInt8;       # piece: element type; bye: error code, 0 for a rank that simply returned
  whole @12 :UInt32;     # calls of the whole gang that the sender has begun, of a gang with islands; else 0
  payload @13 :Data;     # the second segment
}
