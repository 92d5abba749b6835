#!/usr/bin/env bash
# Feeds the readers of frames, handshakes, control connections and the journal with inputs that nobody would send:
# with libFuzzer where clang is installed, else with random changes of the seed corpus, which knows nothing of coverage.
# What ends a target is kept in build/fuzz/found, and said with the command that runs it again.
#   scripts/fuzz.sh [--seconds N] [--seed N] [TARGET...]     N seconds each (20); all targets, or those
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=20
seed=1
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --seconds) seconds=$2 ;;
    --seed) seed=$2 ;;
    *) echo "usage: scripts/fuzz.sh [--seconds N] [--seed N] [TARGET...]" >&2; exit 2 ;;
  esac
  shift 2
done
preset=dev
if command -v clang++ >/dev/null; then preset=fuzz; fi
scripts/build.sh "$preset" fuzz_targets
bin=build/$preset/bin
targets=("$@")
[ $# -gt 0 ] || for program in "$bin"/fuzz_*; do
  [ "$program" = "$bin/fuzz_seeds" ] || targets+=("${program#"$bin"/fuzz_}")
done

found=build/fuzz/found
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch
mkdir -p "$found"
"$bin/fuzz_seeds" "$scratch/seeds"
bad=0
for target in "${targets[@]}"; do
  if [ "$preset" = fuzz ]; then
    # What covers something new is kept from run to run.
    corpus=build/fuzz/corpus/$target
    mkdir -p "$corpus"
    run=("$bin/fuzz_$target" -seed="$seed" -max_total_time="$seconds" -timeout=60 -max_len=4096
      -artifact_prefix="$found/$target-" "$corpus" "$scratch/seeds/$target")
  else
    run=("$bin/fuzz_$target" --seed "$seed" --seconds "$seconds" --keep "$found" "$scratch/seeds/$target")
  fi
  if "${run[@]}" >"$scratch/log" 2>&1; then
    printf '%-8s %s\n' "$target" "$(grep -E 'DONE|runs in' "$scratch/log" | tail -1)"
  else
    printf '%-8s FOUND SOMETHING\n' "$target"
    tail -60 "$scratch/log"
    input=$(grep -oE "$found/[^ ]+" "$scratch/log" | tail -1 || true)
    [ -z "$input" ] || printf '%-8s again with: %s %s\n' "$target" "$bin/fuzz_$target" "$input"
    bad=1
  fi
done
exit "$bad"
