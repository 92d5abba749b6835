#!/usr/bin/env bash
# Installs what is missing, builds PRESET (release unless given), and runs all tests through CTest.
#   scripts/test.sh [PRESET] [ctest options]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=release
case "${1:-}" in release | dev | tsan) preset=$1; shift ;; esac
scripts/install-deps.sh
scripts/build.sh "$preset"
ctest --preset "$preset" --no-tests=error "$@"
