#!/usr/bin/env bash
# check_network_model.sh: does the network model of docs/scale.md say what happens? All-reduces over TCP in a network
# namespace of their own: as fast as loopback is, with a rate (tc), and with a delay (a relay, since not every kernel has
# netem). Prints measured times beside predicted ones; the ratio is predicted / measured. Needs the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=build/release/bin/hydrogen-bench
[ -x "$bench" ] || { echo "build it first: scripts/build.sh release hydrogen_bench" >&2; exit 2; }
skip() { echo "skipped: $1"; exit 0; }

# As root, or as root of a user namespace.
namespace=(unshare -n)
"${namespace[@]}" true 2>/dev/null || namespace=(unshare -rn)
"${namespace[@]}" true 2>/dev/null || skip "this machine lets nobody make network namespaces"
command -v ip >/dev/null && command -v tc >/dev/null || skip "ip and tc (iproute2) are not installed"
shape() { echo "tc qdisc add dev lo root tbf rate $1gbit burst 128kb latency 200ms"; }
"${namespace[@]}" sh -c "ip link set lo up && $(shape 1)" 2>/dev/null || skip "the kernel has no token bucket (tbf)"

inside() { "${namespace[@]}" sh -c 'ip link set lo up && exec "$@"' sh "$bench" network "$@"; }
echo "--- loopback as it is"
inside
for rate in 1 5; do
  echo "--- $rate Gbit/s for all ranks together"
  inside --gbit "$rate" --shape-with "$(shape "$rate")"
done
echo "--- bytes held for 5 ms"
inside --delay-us 5000
