#!/usr/bin/env bash
# gpu.sh OUT [build|test|sanitize|bench]...: what takes a machine with an NVIDIA GPU, from a fresh checkout. Writes logs
# and results into the folder OUT; all steps unless some are named. The build tree is build/gpu, so that others stay.
#   build      the release preset with HYDROGEN_CUDA=ON
#   test       test_gpu, which tests every backend that is found and fails if CUDA is not among them, test_exec and
#              test_actors. What needs NCCL, or two GPUs, says so where it is skipped
#   sanitize   test_gpu under compute-sanitizer: memcheck, racecheck, synccheck and initcheck; fails where that is not
#              installed; without NCCL's own kernels
#   bench      hydrogen-bench kernels and dispatch: OUT/kernels.json, OUT/dispatch.json, and OUT/rows.txt, what the GPU's
#              rows aim at and whether they reach it; fails if such a row is missing, not if its goal is missed. Then
#              `digits` with a network of width 4096: OUT/digits.log
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
  sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
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
  cmake --build "$tree" -j "$(nproc)" --target test_gpu test_exec test_actors hydrogen_bench \
    hydrogen_program digits
}

tests() {
  nvidia-smi -L
  local bad=()
  HYDROGEN_NEEDS_CUDA=1 "$tree/bin/test_gpu" | tee "$out/test_gpu.log" || bad+=(test_gpu)
  for name in test_exec test_actors; do
    "$tree/bin/$name" | tee "$out/$name.log" || bad+=("$name")
  done
  grep -ho 'skipped: .*' "$out"/test_*.log | sort -u || true
  [ ${#bad[@]} -eq 0 ] || { echo "gpu.sh: failed: ${bad[*]}"; return 1; }
}

sanitize() {
  local tool bad=()
  tool=$(command -v compute-sanitizer || true)
  [ -n "$tool" ] || tool=${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer
  if [ ! -x "$tool" ]; then
    echo "gpu.sh: no compute-sanitizer in PATH or ${tool%/*}: install NVIDIA's package cuda-sanitizer-MAJOR-MINOR of this CUDA version, or the whole toolkit"
    return 1
  fi
  for kind in memcheck racecheck synccheck initcheck; do
    echo "-- $kind"
    HYDROGEN_NEEDS_CUDA=1 "$tool" --tool "$kind" --error-exitcode 9 "$tree/bin/test_gpu" \
      --test-case-exclude='*by NCCL*' || bad+=("$kind")
  done
  [ ${#bad[@]} -eq 0 ] || { echo "gpu.sh: not clean: ${bad[*]}"; return 1; }
}

bench() {
  local bad=()
  rm -f "$out/rows.txt" "$out/kernels.json" "$out/dispatch.json"
  for name in kernels dispatch; do
    "$tree/bin/hydrogen-bench" "$name" --json "$out/$name.json" || bad+=("$name")
  done
  # Four ranks, which share the GPU: there may be only one.
  "$tree/bin/hydrogen" run digits -- --model network --width 4096 --steps 20 --gpus 1 --gpu-shared-by 4 |
    tee "$out/digits.log" || bad+=(digits)
  python3 scripts/device_rows.py "$out" | tee "$out/rows.txt" || bad+=("rows of the GPU")
  [ ${#bad[@]} -eq 0 ] || { echo "gpu.sh: failed: ${bad[*]}"; return 1; }
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
  if [ "$step" = bench ] && [ -s "$out/rows.txt" ]; then
    cat "$out/rows.txt"
  elif [ "$code" -eq 0 ]; then
    tail -n 4 "$out/$step.log"
  fi
  [ "$code" -eq 0 ] && continue
  failed+=("$step")
  tail -n 40 "$out/$step.log" >&2
  [ "$step" = build ] && break
done
if [ ${#failed[@]} -ne 0 ]; then
  echo "gpu.sh: failed: ${failed[*]}; logs are in $out" >&2
  exit 1
fi
echo "gpu.sh: ${steps[*]} done; logs and results are in $out"
