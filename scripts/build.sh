#!/usr/bin/env bash
# build.sh PRESET [TARGET...]: configures and builds one preset; as many jobs as cores, fewer where memory is short.
# A new tree is built several files at a time, since nothing is there yet that could be kept. Who
# develops configures the tree first (cmake --preset PRESET), and then builds file by file.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
options=()
[ -n "${CI:-}" ] && options+=(-DHYDROGEN_WERROR=ON)
[ -e "build/$preset/CMakeCache.txt" ] || options+=(-DCMAKE_UNITY_BUILD=ON)
cmake --preset "$preset" "${options[@]}" >/dev/null
jobs=$(nproc)
by_memory=$(($(awk '/MemAvailable/ {print $2}' /proc/meminfo) / 2000000))
[ "$by_memory" -lt "$jobs" ] && jobs=$((by_memory > 0 ? by_memory : 1))
cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"}
