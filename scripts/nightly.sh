#!/usr/bin/env bash
# What takes longer than a change should wait: the thread sanitizer below actors/, and many more seeds of the simulators.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-deps.sh
cmake --preset tsan >/dev/null  # file by file, so that each is seen to include what it uses
scripts/build.sh tsan
ctest --preset tsan --no-tests=error -L below_actors
scripts/build.sh release
scripts/mutants.sh
build/release/bin/hydrogen-sim --seeds 1..100000 --cells
HYDROGEN_SEEDS=1..50000 ctest --preset release --no-tests=error -R '^job$' --timeout 3000
