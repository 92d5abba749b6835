#!/usr/bin/env bash
# Random disasters on a cluster of processes of the release build: kills, stops, cut connections; after each round all
# must be at rest. A round is its seed: --rounds 1 --seed N makes the same choices again.
#   scripts/chaos.sh --rounds N [--seed S] [--keep]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x build/release/bin/hydrogen ] || [ ! -e build/release/lib/hydrogen/libtest_scenarios.so ]; then
  scripts/install-deps.sh
  scripts/build.sh release
fi
exec python3 -B tests/chaos/chaos.py "$@"
