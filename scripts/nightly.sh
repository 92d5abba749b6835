#!/usr/bin/env bash
# What takes longer than a change should wait: the thread sanitizer below actors/, many more seeds of the simulators,
# defects that must be noticed, ten minutes for each fuzz target, disasters, and the model if spin is installed (8 GiB).
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
scripts/chaos.sh --rounds 100
scripts/fuzz.sh --seconds 600
HYDROGEN_ZOMBIES=1000 build/release/bin/test_actors --test-case='*zombie*'
HYDROGEN_TEST_PROGRAMS=10000 build/release/bin/test_comm --test-case='random programs*'
if command -v spin >/dev/null; then docs/model/check.sh; fi
