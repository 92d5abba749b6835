#!/bin/bash
# Checks the model gang.pml exhaustively in each configuration, and that each mutation is found.
#
#   check.sh                everything; exit status 1 if a configuration fails or is not complete, or a mutation is not found
#   check.sh --long         larger configurations, which take too long to be looked at each time
#   check.sh NAME           one configuration or mutation
#   check.sh --trace NAME   the same, and its error in words
#
# Needs spin, gcc, and 8 GiB. A second search runs beside the first when there are two processors or more; JOBS=1
# forbids it.
# shellcheck disable=SC2317 # reports are called by their names
set -euo pipefail

model=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/gang.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

memory=4000 # MiB for one search
depth=20000

# name: bounds. Each looks for wrong states and for runs that end wrongly; with CYCLES, for runs that never end.
configurations=(
  "plain:HEALTHY LOSSES=2 REPEATS=1 CANCELS=1"
  "warm:HEALTHY WARM=1 SLOW=1 LOSSES=1 REPEATS=1"
  "tcp:HEALTHY ONE_PLACE=0 WARM=1 LOSSES=2 REPEATS=1 CANCELS=1"
  "lesser:FAULTS=1 EXPIRIES=1 EXECUTOR_DEATHS=1 TIMEOUTS=1 BAD_RANKS=1 PARKS=1"
  "expiry:WARM=1 FAULTS=1 EXPIRIES=1 LOSSES=1"
  "cut:FAULTS=1 CUTS=1"
  "cut_long:LONG=1 WARM=1 FAULTS=1 CUTS=1 LOSSES=1"
  "agents:FAULTS=1 AGENT_CRASHES=1"
  "restart:HEALTHY FAULTS=1 RESTARTS=1"
  "restart_twice:HEALTHY WARM=1 FAULTS=2 RESTARTS=2 LATE=0 K=1 EAGER=1"
  "restart_tcp:HEALTHY ONE_PLACE=0 WARM=1 FAULTS=1 RESTARTS=1 LOSSES=1 LATE=0"
  "restart_long:HEALTHY LONG=1 WARM=1 FAULTS=1 RESTARTS=1 LOSSES=1 LATE=0"
  "restart_job:WARM=1 FAULTS=2 RESTARTS=1 BAD_RANKS=1 TIMEOUTS=1 LATE=0 K=1"
  "restart_late:HEALTHY LATE_WORD=1 WARM=1 FAULTS=1 RESTARTS=1 LATE=0"
  "restart_cancel:FAULTS=1 RESTARTS=1 CANCELS=1 LATE=0"
  "restart_cut:WARM=1 FAULTS=2 RESTARTS=1 CUTS=1 LATE=0 K=1 EAGER=1"
  "restart_crash:WARM=1 FAULTS=2 RESTARTS=1 AGENT_CRASHES=1 CRASHES_OF_FIRST=1 LATE=0 K=1"
  "restart_third:HEALTHY AGENTS=3 WARM=1 FAULTS=1 RESTARTS=1 LATE=0 K=1 EAGER=1"
  "away:FAULTS=1 RESTARTS=1 STAYS_AWAY=1 WARM=1 LATE=0 LOSSES=1"
  "two_gangs:HEALTHY GANGS=2 WARM=1"
  "two_cancelled:GANGS=2 WARM=1 CANCELS=1 K=1 EAGER=1"
  "two_lesser:GANGS=2 WARM=1 FAULTS=1 EXPIRIES=1 BAD_RANKS=1 K=1 EAGER=1"
  "two_restarted:HEALTHY GANGS=2 WARM=1 FAULTS=1 RESTARTS=1 LATE=0 K=1 EAGER=1"
  "ends_plain:CYCLES LOSSES=1 REPEATS=1 CANCELS=1"
  "ends_crash:CYCLES WARM=1 FAULTS=1 RESTARTS=1 AGENT_CRASHES=1 CUTS=1 LATE=0 K=1"
  "ends_away:CYCLES WARM=1 FAULTS=1 RESTARTS=1 STAYS_AWAY=1 LATE=0"
  "ends_two:CYCLES GANGS=2 WARM=1 K=1 EAGER=1"
)

long_configurations=(
  "restart_lossy:HEALTHY WARM=1 FAULTS=1 RESTARTS=1 LOSSES=2 LATE=0 K=1"
  "restart_expiry:WARM=1 FAULTS=2 RESTARTS=1 EXPIRIES=1 EXECUTOR_DEATHS=1 LATE=0 K=1"
  "restart_repeat:HEALTHY WARM=1 FAULTS=1 RESTARTS=1 REPEATS=1 LATE=0"
  "ends_lesser:CYCLES FAULTS=1 EXPIRIES=1 EXECUTOR_DEATHS=1 TIMEOUTS=1 BAD_RANKS=1 PARKS=1"
  "three_agents:HEALTHY GANGS=2 AGENTS=3 WARM=1 K=1 EAGER=1"
)

# name: what is switched on, and the least bounds in which it shows.
mutations=(
  "NO_EXPIRY:FAULTS=1 RESTARTS=1 STAYS_AWAY=1 LATE=0"
  "COMMIT_AFTER_EXPIRY:FAULTS=1 EXPIRIES=1"
  "NO_TOMBSTONE:FAULTS=1 EXPIRIES=1 REPEATS=1"
  "NO_TERM_CHECK:WARM=1 FAULTS=1 RESTARTS=1"
  "NO_BOOT_CHECK:FAULTS=1 AGENT_CRASHES=1"
  "CREDIT_BEFORE_CONFIRMATION:FAULTS=1 TIMEOUTS=1"
  "START_BEFORE_ALL_JOINED:WARM=1"
  "GO_NOT_DURABLE_BEFORE_ENTER:WARM=1"
  "PERMIT_BEFORE_DURABLE:WARM=1"
  "ABORT_GIVEN_UP:FAULTS=1 TIMEOUTS=1 LOSSES=2"
  "ABORT_FOR_REVOKE:WARM=1 FAULTS=1 BAD_RANKS=1"
  "RESTART_DROPS:HEALTHY WARM=1 FAULTS=1 RESTARTS=1 LATE=0"
  "RESTART_FORGETS:AGENTS=3 WARM=1 FAULTS=1 RESTARTS=1 LATE=0 K=1"
  "FINISHED_OF_OLDER_ATTEMPT:WARM=1 FAULTS=1 EXPIRIES=1 REPEATS=1"
  "EVERYONE_OF_ANOTHER_ATTEMPT:WARM=1 FAULTS=1 EXPIRIES=1 REPEATS=1"
  "CANCEL_AFTER_RESTART:FAULTS=1 RESTARTS=1 CANCELS=1 LATE=0"
  "EVERYONE_FORGOTTEN:LONG=1 WARM=1 FAULTS=1 RESTARTS=1 LATE=0"
  "FINISHED_BEFORE_LIST:ONE_PLACE=0 WARM=1 FAULTS=1 RESTARTS=1 LATE=0"
  "ENDLESS_REVOKE:CYCLES CANCELS=1"
)

# define NAME BOUNDS: the -D of one search
define() {
  local d
  printf '%s\n' "-D$1"
  for d in $2; do printf '%s\n' "-D$d"; done
}

# search NAME BOUNDS: leaves NAME/out and, of an error, a trail
search() {
  local -a defines how=(-DSAFETY) options=()
  mapfile -t defines < <(define "$1" "$2")
  if [[ $2 == *CYCLES* ]]; then
    how=(-DNP)
    options=(-l)
  fi
  mkdir "$work/$1"
  (
    cd "$work/$1"
    cp "$model" gang.pml
    spin -a "${defines[@]}" gang.pml > spin.out 2>&1 || { cat spin.out >&2; exit 1; }
    gcc -Og -w "${how[@]}" -DNOREDUCE "-DMEMLIM=$memory" -o pan pan.c
    begun=$(date +%s%N)
    timeout 1000 ./pan "-m$depth" "${options[@]}" > out 2>&1 || true
    echo "wall $((($(date +%s%N) - begun) / 10000000))" >> out
  )
}

# number PATTERN FILE: the first number after what the pattern matches
number() { sed -nE "s/.*$1 *([0-9.e+]+).*/\\1/p" "$2" | head -1; }

complete() {
  grep -q 'errors: 0' "$1" && ! grep -qE 'error: max search depth|out of memory|Search not completed|aborted' "$1"
}

# What the first error of a search was: what is said at the line of its assertion.
broken() {
  local line
  if grep -q 'assertion violated' "$1/out"; then
    line=$(cd "$1" && spin -t "${@:2}" gang.pml 2> /dev/null | sed -nE 's/.*gang.pml:([0-9]+), Error: assertion.*/\1/p' | head -1)
    sed -n "${line:-1}p" "$model" | sed -E 's|.*/\* (.*) \*/.*|\1|; s/^ *(:: )?//'
  else
    grep -m1 '^pan:1:' "$1/out" | cut -c1-60 || true
  fi
}

report_configuration() { # NAME BOUNDS
  local out=$work/$1/out result=complete wall
  complete "$out" || result=FAILED
  wall=$(sed -n 's/^wall //p' "$out")
  printf '%-15s %-9s %10s %6s %6s %5s  %s\n' "$1" "$result" \
    "$(sed -nE 's/^ *([0-9.e+]+) states, stored.*/\1/p' "$out")" "$(number 'depth reached' "$out")" \
    "$(sed -nE 's/^ *([0-9]+)\.[0-9]+\ttotal actual.*/\1/p' "$out")" "$((wall / 100))" "$2"
  [[ $result == complete ]]
}

report_mutation() { # NAME BOUNDS
  local out=$work/$1/out wall trail
  local -a defines
  mapfile -t defines < <(define "$1" "$2")
  wall=$(sed -n 's/^wall //p' "$out")
  if ! grep -qE '^pan:1:' "$out"; then
    printf '%-28s NOT FOUND  %s\n' "$1" "$2"
    return 1
  fi
  trail=$(number 'at depth' "$out")
  printf '%-28s %5s %5s  %-68s %s\n' "$1" "$trail" "$((wall / 100))" "$(broken "$work/$1" "${defines[@]}")" "$2"
}

# each REPORT ENTRY...: searches all, JOBS at a time, and reports in order; not 0 when one was not as it should be
each() {
  local report=$1 entry running=0 bad=0
  shift
  for entry in "$@"; do
    if ((running >= jobs)); then
      wait -n || true
      running=$((running - 1))
    fi
    search "${entry%%:*}" "${entry#*:}" &
    running=$((running + 1))
  done
  wait || true
  for entry in "$@"; do "$report" "${entry%%:*}" "${entry#*:}" || bad=1; done
  return "$bad"
}

head_of_configurations() {
  printf '%-15s %-9s %10s %6s %6s %5s  %s\n' configuration result states depth MiB s bounds
}
head_of_mutations() { printf '%-28s %5s %5s  %-68s %s\n' mutation trail s 'what broke' bounds; }

jobs=${JOBS:-$(($(nproc) > 1 ? 2 : 1))}
trace=no
if [[ ${1:-} == --trace ]]; then
  trace=yes
  shift
fi

if [[ ${1:-} == --long ]]; then
  head_of_configurations
  bad=0
  each report_configuration "${long_configurations[@]}" || bad=1
  exit "$bad"
fi

if (($# == 0)); then
  bad=0
  head_of_configurations
  each report_configuration "${configurations[@]}" || bad=1
  printf 'in %s s\n\n' "$SECONDS"
  head_of_mutations
  each report_mutation "${mutations[@]}" || bad=1
  exit "$bad"
fi

one() { # REPORT HEAD ENTRY
  local bad=0 name=${3%%:*}
  local -a defines
  search "$name" "${3#*:}"
  "$2"
  "$1" "$name" "${3#*:}" || bad=1
  if [[ $trace == yes && -f $work/$name/gang.pml.trail ]]; then
    mapfile -t defines < <(define "$name" "${3#*:}")
    (cd "$work/$name" && spin -t -T "${defines[@]}" gang.pml | sed -n '/^spin:/q; s/^ *//; /^[a-z]/p')
  fi
  exit "$bad"
}

for entry in "${configurations[@]}" "${long_configurations[@]}"; do
  if [[ ${entry%%:*} == "$1" ]]; then one report_configuration head_of_configurations "$entry"; fi
done
for entry in "${mutations[@]}"; do
  if [[ ${entry%%:*} == "$1" ]]; then one report_mutation head_of_mutations "$entry"; fi
done
echo "no configuration or mutation is called $1" >&2
exit 1
