#!/usr/bin/env bash
# gpu.sh OUT [build|test|sanitize|bench]...: what takes a machine with an NVIDIA GPU, from a fresh checkout. Writes logs
# and results into the folder OUT; all steps unless some are named. The build tree is build/gpu, so that others stay.
#   build      the release preset with HYDROGEN_CUDA=ON
#   test       test_gpu, which tests every backend that is found; fails if CUDA is not among them. What needs NCCL, or
#              two GPUs, says so where it is skipped
#   sanitize   the same under compute-sanitizer, memcheck and racecheck, if it is installed; without NCCL's own kernels
#   bench      hydrogen-bench kernels and dispatch; OUT/kernels.json and OUT/dispatch.json
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
steps=("$@")
[ ${#steps[@]} -eq 0 ] && steps=(build test sanitize bench)
tree=build/gpu
failed=()

build() {
  scripts/install-deps.sh
  local options=(-DHYDROGEN_CUDA=ON)
  [ -e "$tree/CMakeCache.txt" ] || options+=(-DCMAKE_UNITY_BUILD=ON)
  cmake --preset release -B "$tree" "${options[@]}" >/dev/null
  cmake --build "$tree" -j "$(nproc)" --target test_gpu hydrogen_bench
}

tests() {
  nvidia-smi -L
  HYDROGEN_NEEDS_CUDA=1 "$tree/bin/test_gpu" | tee "$out/test_gpu.log"
  grep -o 'skipped: .*' "$out/test_gpu.log" | sort -u || true
}

sanitize() {
  local tool
  tool=$(command -v compute-sanitizer || true)
  [ -n "$tool" ] || tool=/usr/local/cuda/bin/compute-sanitizer
  if [ ! -x "$tool" ]; then
    echo "gpu.sh: no compute-sanitizer here, so nothing was sanitized"
    return 0
  fi
  for kind in memcheck racecheck; do
    HYDROGEN_NEEDS_CUDA=1 "$tool" --tool "$kind" --error-exitcode 9 "$tree/bin/test_gpu" --test-case-exclude='*by NCCL*'
  done
}

bench() {
  for name in kernels dispatch; do
    "$tree/bin/hydrogen-bench" "$name" --json "$out/$name.json"
  done
}

for step in "${steps[@]}"; do
  case "$step" in
    build | sanitize | bench) run=$step ;;
    test) run=tests ;;
    *)
      echo "gpu.sh: no step '$step'; there are: build test sanitize bench" >&2
      exit 2
      ;;
  esac
  echo "== $step"
  # Not as the condition of an if, in which bash goes on after errors.
  set +e
  (set -e; "$run") >"$out/$step.log" 2>&1
  code=$?
  set -e
  if [ "$code" -eq 0 ]; then
    tail -n 4 "$out/$step.log"
  else
    failed+=("$step")
    tail -n 40 "$out/$step.log" >&2
    [ "$step" = build ] && break
  fi
done
if [ ${#failed[@]} -ne 0 ]; then
  echo "gpu.sh: failed: ${failed[*]}; logs are in $out" >&2
  exit 1
fi
echo "gpu.sh: ${steps[*]} done; logs and results are in $out"
