#!/usr/bin/env bash
# Breaks the machines of gang admission on purpose, one defect after the other (tests/mutants/*.patch), in a copy of the
# sources, and expects that the simulator notices each within 20,000 seeds.
#   scripts/mutants.sh [NAME...]     all, or those
#   scripts/mutants.sh --check       only whether every patch still applies
set -euo pipefail
cd "$(dirname "$0")/.."
seeds=1..20000
copy=build/mutants/source

if [ "${1:-}" = --check ]; then
  bad=0
  for patch in tests/mutants/*.patch; do
    # Unlike inside a repository, git looks at the files as they are.
    GIT_DIR=/dev/null git apply --check "$patch" || bad=1
  done
  exit "$bad"
fi

rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -c --ignore-failed-read | tar -x -C "$copy"
patches=("${@/#/tests/mutants/}")
patches=("${patches[@]/%/.patch}")
[ $# -gt 0 ] || patches=(tests/mutants/*.patch)
# Unoptimised it would take longer to run than to build.
build() { (cd "$copy" && scripts/build.sh release hydrogen_sim) >build/mutants/build.log 2>&1 || { cat build/mutants/build.log; exit 1; }; }
bad=0
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  profile=$(sed -n 's/^Profile: //p' "$patch")
  (cd "$copy" && GIT_DIR=/dev/null git apply "../../../$patch")
  build
  if found=$("$copy/build/release/bin/hydrogen-sim" --seeds "$seeds" --profile "$profile" 2>&1); then
    printf '%-32s NOT NOTICED in seeds %s of profile %s\n' "$name" "$seeds" "$profile"
    bad=1
  else
    printf '%-32s %s\n' "$name" "$(grep -m1 '^seed' <<<"$found" || tail -1 <<<"$found")"  # or it crashed
  fi
  (cd "$copy" && GIT_DIR=/dev/null git apply -R "../../../$patch")
done
exit "$bad"
