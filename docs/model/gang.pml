/* Gang admission: a model for Spin. What it stands for, its bounds and its results are in README.md. It is long because
 * each message, answer, record and deadline of the protocol is a step of its own here.
 *
 * One process per machine of the code: coordinator (gang::admission with its journal), agent (gang::reservation and
 * the gang::execution machines of its executors), job (what a driver says about one gang), faults. Each option of a
 * process is one event of that machine, handled in one step, as in `effects = machine.on(event, now)`.
 *
 * Nothing is said again while its first saying, or an answer to it, may still come; and nothing is said that would
 * change nothing. So without faults no step can be taken for ever, and every run ends. What is repeated all the same
 * is the fault `repeat`. */

/* ---- bounds: each -D of check.sh ------------------------------------------------------------------------------- */

#ifndef GANGS
#define GANGS 1
#endif
#ifndef AGENTS
#define AGENTS 2
#endif
#ifndef FAULTS /* of all kinds but loss and repetition, in one run */
#define FAULTS 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef REPEATS
#define REPEATS 0
#endif
#ifndef EXPIRIES /* for each gang: of a reservation, a rendezvous, or what is committed without contact */
#define EXPIRIES 0
#endif
#ifndef RESTARTS /* crashes of the coordinator */
#define RESTARTS 0
#endif
#ifndef STAYS_AWAY /* 1: a coordinator that crashed may never return */
#define STAYS_AWAY 0
#endif
#ifndef AGENT_CRASHES /* for each agent */
#define AGENT_CRASHES 0
#endif
#ifndef CRASHES_OF_FIRST /* 1: only agent 0 crashes */
#define CRASHES_OF_FIRST 0
#endif
#ifndef EXECUTOR_DEATHS
#define EXECUTOR_DEATHS 0
#endif
#ifndef TIMEOUTS /* reserve_timeout, fence_timeout, an executor that does not start */
#define TIMEOUTS 0
#endif
#ifndef CUTS /* connections between coordinator and an agent that close, or agents that come back late */
#define CUTS 0
#endif
#ifndef BAD_RANKS /* functions that fail */
#define BAD_RANKS 0
#endif
#ifndef PARKS
#define PARKS 0
#endif
#ifndef CANCELS /* for each gang */
#define CANCELS 0
#endif
#ifndef WARM /* executors are up before the first reserve */
#define WARM 0
#endif
#ifndef ONE_PLACE /* ranks meet at one gate; 0: over TCP, each with a gate of its own */
#define ONE_PLACE 1
#endif
#ifndef SLOW /* 1: a rank that waits long at the one gate reports itself */
#define SLOW 0
#endif

#ifndef LATE /* 1: what is on its way when the coordinator crashes still comes; 0: it goes down with the connections */
#define LATE 1
#endif

#ifndef EAGER /* 1: at once are answered a fence, placed, and follow */
#define EAGER 0
#endif

#ifndef LATE_WORD /* 1: what has finished is acknowledged late */
#define LATE_WORD 0
#endif

#ifndef LONG /* 1: ranks run until nothing else can happen */
#define LONG 0
#endif

#ifndef K /* messages on their way between the coordinator and one agent, in each direction: 1 or 2 */
#define K 2
#endif

/* ---- words ----------------------------------------------------------------------------------------------------- */

/* Coordinator to agent. */
#define RESERVE 1
#define COMMIT 2
#define GO 3
#define PERMIT 4
#define ENTER 5
#define CLOSE 6
#define ABORT 7
#define REVOKE 8
#define FOLLOW 9
#define ENLISTED 10 /* with the entry to disown; attempt 0: none */
#define EXPELLED 11

/* Agent to coordinator. */
#define RESERVED 1
#define REFUSED 2
#define COMMITTED 3
#define JOINED 4
#define EVERYONE 5 /* joined(everyone) */
#define FINISHED 6
#define GONE 7
#define ABSENT 8
#define ENLIST 9 /* with the one entry; attempt 0: none. As it is, keep(entry) is false; one that is kept is */
#define ENLIST_COMMITTED 10
#define ENLIST_JOINED 11
#define ENLIST_RUNNING 12

/* An entry of an agent. */
#define E_RESERVED 1
#define E_STARTING 2
#define E_COMMITTED 3
#define E_JOINING 4
#define E_RUNNING 5
#define E_DRAINING 6

/* A rank at its executor. */
#define R_WAITS 1 /* at the gate: it has come */
#define R_INSIDE 2
#define R_RETURNED 3
#define R_FAILED 4

/* A gang at the coordinator. */
#define QUEUED 0
#define RESERVING 1
#define COMMITTING 2
#define JOINING 3
#define RUNNING 4
#define RECOVERING 5
#define CLOSING 6
#define ENDING 7
#define PARKED 8
#define OVER 9

/* Progress of a member. */
#define M_ASKED 0
#define M_RESERVED 1
#define M_READY 2
#define M_COMMITTED 3
#define M_JOINED 4
#define M_ENTERED 5 /* while recovering only */
#define M_FINISHED 6
#define M_GONE 7

#define NOT_WRITTEN 0
#define WRITTEN 1
#define DURABLE 2

/* Verdict. */
#define RELEASED 1
#define CANCELLED 2

/* The job. */
#define J_WANTS 0
#define J_RELEASES 1
#define J_CANCELS 2
#define J_DONE 3
#define J_CANCELLED 4

/* A message: 14 bits, so that channels are small and sorted. A list says besides which gangs' ranks have finished. */
#define PACK(what, g, n, t, b) ((what) | ((g) << 4) | ((n) << 5) | ((t) << 8) | ((b) << 10))
#define LISTS_FINISHED(m, g) (((m) >> (12 + (g))) & 1)
#define WHAT(m) ((m) & 15)
#define GANG(m) (((m) >> 4) & 1)
#define ATTEMPT(m) (((m) >> 5) & 7)
#define TERM(m) (((m) >> 8) & 3)
#define BOOT(m) (((m) >> 10) & 3)

#if AGENTS == 3
#define THIRD(what) what
#else
#define THIRD(what)
#endif
#if GANGS == 2
#define SECOND(what) what
#else
#define SECOND(what)
#endif
#define WHEN(condition, steps) if :: condition -> steps :: else fi

/* ---- state ----------------------------------------------------------------------------------------------------- */

chan to_agent[AGENTS] = [K] of { short };
chan from_agent[AGENTS] = [K] of { short };

/* Agent: one slot, so at most one entry. */
byte boot[AGENTS] = 1;
byte term_seen[AGENTS] = 1;
bit connected[AGENTS] = 1;
bit enlisted[AGENTS] = 1;
byte e_state[AGENTS];
byte e_gang[AGENTS];
byte e_attempt[AGENTS];
bit e_may_expire[AGENTS];
bit e_joined[AGENTS];
bit e_everyone[AGENTS];
bit e_told_executor[AGENTS];
bit e_by_itself[AGENTS];
byte gone_what[AGENTS * GANGS]; /* news that are repeated until they are acknowledged; older ones nobody needs */
byte gone_attempt[AGENTS * GANGS];
byte tombstone[AGENTS * GANGS];

/* Executors: one per agent and gang (each gang is a run). The attempt of a rank is that of the entry. */
bit executor_up[AGENTS * GANGS] = WARM;
byte executor_over[AGENTS * GANGS]; /* the highest attempt that is over there */
byte rank[AGENTS];
bit completes[AGENTS]; /* it was the last rank to come */
bit own_gate[AGENTS];  /* its own gate is open */

/* Where ranks meet: a bit for each attempt. */
byte came[GANGS * 2];
byte gate_open[GANGS];
byte result[GANGS * 2]; /* on its way to the job, or there */

/* Coordinator. */
byte term = 1;
bit up = 1;
byte phase[GANGS];
byte attempt[GANGS]; /* the live one, or the last */
byte m_agent[GANGS * 2];
byte m_boot[GANGS * 2];
byte m_progress[GANGS * 2];
bit fenced[GANGS];
byte go[GANGS];
bit permitted[GANGS];
byte speaker[GANGS]; /* 1 + rank */
bit end_revoke[GANGS];
bit then_park[GANGS];
bit last_had_go[GANGS];
bit requeuing[GANGS];
byte verdict[GANGS];
bit verdict_durable[GANGS];
byte n_boot[AGENTS] = 1; /* as the ledger knows the node; 0: it does not */
bit n_listed[AGENTS] = 1;
bit n_connected[AGENTS] = 1;
byte n_dead[AGENTS];       /* boots that are dead, a bit for each */
byte orphan_gang[AGENTS];
byte orphan_attempt[AGENTS]; /* 0: none */

/* Journal, as far as it is durable. */
byte disk_go[GANGS]; /* attempt of the open Go */
byte disk_over[GANGS];

/* Job. */
byte job[GANGS];
byte fence[GANGS];
bit fence_open[GANGS];
bit placed[GANGS];
byte p_agent[GANGS * 2];
byte p_boot[GANGS * 2];

/* What only the monitors read. */
byte go_durable[GANGS];      /* a bit for each attempt */
byte dead_here[AGENTS * GANGS]; /* highest attempt that ended at this boot, whatever the term */
bit counted_dead[AGENTS];    /* this boot was declared dead and lives */
bit told_cancelled[GANGS];

/* Scratch of one step, never read by the next: no part of a state. */
hidden short m, m2;
hidden byte who, g, n, i, x, y, v, eg;
hidden short en;

/* What may still go wrong. */
byte faults = FAULTS;
byte losses = LOSSES;
byte repeats = REPEATS;
byte expiries[GANGS] = EXPIRIES;
byte restarts = RESTARTS;
byte agent_crashes[AGENTS] = AGENT_CRASHES;
byte executor_deaths = EXECUTOR_DEATHS;
byte timeouts = TIMEOUTS;
byte cuts = CUTS;
byte bad_ranks = BAD_RANKS;
byte parks = PARKS;
byte cancels[GANGS] = CANCELS;

inline no_more_faults() {
  restarts = 0; executor_deaths = 0; timeouts = 0; cuts = 0; bad_ranks = 0; parks = 0; faults = 0;
  x = 0;
  do
  :: x < AGENTS -> agent_crashes[x] = 0; x++
  :: else -> break
  od;
  x = 0;
  do
  :: x < GANGS -> expiries[x] = 0; x++
  :: else -> break
  od;
  x = 0
}

/* After the last one, all that did not happen are the same. */
inline take(kind) {
  faults--; kind--;
  WHEN(faults == 0, no_more_faults())
}

/* ---- the ledger ------------------------------------------------------------------------------------------------ */

#define LIVE(g) (phase[g] >= RESERVING && phase[g] <= ENDING)
#define BEFORE_GO(g) (phase[g] == RESERVING || phase[g] == COMMITTING)
#define HOLDS(i) (m_progress[i] < M_FINISHED)
#ifdef CREDIT_BEFORE_CONFIRMATION
#define DEBITED_FOR(g, a) (LIVE(g) && phase[g] != ENDING && \
  ((m_agent[(g) * 2] == (a) && m_boot[(g) * 2] == n_boot[a] && HOLDS((g) * 2)) || \
   (m_agent[(g) * 2 + 1] == (a) && m_boot[(g) * 2 + 1] == n_boot[a] && HOLDS((g) * 2 + 1))))
#else
#define DEBITED_FOR(g, a) (LIVE(g) && \
  ((m_agent[(g) * 2] == (a) && m_boot[(g) * 2] == n_boot[a] && HOLDS((g) * 2)) || \
   (m_agent[(g) * 2 + 1] == (a) && m_boot[(g) * 2 + 1] == n_boot[a] && HOLDS((g) * 2 + 1))))
#endif
#define DEBITED(a) (orphan_attempt[a] != 0 || DEBITED_FOR(0, a) SECOND(|| DEBITED_FOR(1, a)))
#define FREE(a) (n_boot[a] != 0 && n_listed[a] && n_connected[a] && !DEBITED(a))

/* ---- what is sent ---------------------------------------------------------------------------------------------- */

/* A full channel loses it: it is said again when there is room. */
inline tell_agent(a, b, what, g, n) {
  if
  :: n_connected[a] && len(to_agent[a]) < K && !(to_agent[a]??[eval(PACK(what, g, n, term, b))]) ->
     to_agent[a]!!PACK(what, g, n, term, b)
  :: else
  fi
}

inline tell_coordinator(a, what, g, n) {
  if
  :: connected[a] && len(from_agent[a]) < K && !(from_agent[a]??[eval(PACK(what, g, n, term_seen[a], boot[a]))]) ->
     from_agent[a]!!PACK(what, g, n, term_seen[a], boot[a])
  :: else
  fi
}

#define SILENT(a) (len(to_agent[a]) == 0 && len(from_agent[a]) == 0)

/* ---- each ------------------------------------------------------------------------------------------------------ */

#define EACH_AGENT(option) option(0) option(1) THIRD(option(2))
#define EACH_GANG(option) option(0) SECOND(option(1))
#define EACH_MEMBER(option) option(0, 0) option(0, 1) SECOND(option(1, 2) option(1, 3))

#define MEMBER(g, a, b) (m_agent[(g) * 2] == (a) && m_boot[(g) * 2] == (b) -> (g) * 2 : \
                        (m_agent[(g) * 2 + 1] == (a) && m_boot[(g) * 2 + 1] == (b) -> (g) * 2 + 1 : 7))
/* The member of the live attempt n at that boot; 7: there is none. */
#define FIND(g, n, a, b) (LIVE(g) && attempt[g] == (n) -> MEMBER(g, a, b) : 7)

/* ---- the agent ------------------------------------------------------------------------------------------------- */

#define IS_ENTRY(a, g, n) (e_state[a] != 0 && e_gang[a] == (g) && e_attempt[a] == (n))
#define OF(a, g) ((a) * GANGS + (g))

inline raise_tombstone(a, g, n) {
  WHEN(tombstone[OF(a, g)] < (n), tombstone[OF(a, g)] = n)
}

/* Nothing of the attempt is left anywhere: where it met is forgotten, which no later step could see. */
inline forget_meeting(g, n) {
  x = 0;
  do
  :: x < AGENTS && !IS_ENTRY(x, g, n) -> x++
  :: else -> break
  od;
  if
  :: x == AGENTS ->
     came[(g) * 2] = came[(g) * 2] & ~(1 << (n));
     came[(g) * 2 + 1] = came[(g) * 2 + 1] & ~(1 << (n));
     gate_open[g] = gate_open[g] & ~(1 << (n))
  :: else
  fi;
  x = 0
}

inline bury(a, what) {
  assert(rank[a] == 0); /* capacity, single owner: no slot is given back while a rank is in it */
  eg = e_gang[a];
  en = e_attempt[a];
#ifndef NO_TOMBSTONE
  raise_tombstone(a, eg, en);
#endif
  WHEN(dead_here[OF(a, eg)] < en, dead_here[OF(a, eg)] = en);
  WHEN(what == FINISHED || e_by_itself[a], gone_what[OF(a, eg)] = what; gone_attempt[OF(a, eg)] = en);
  e_state[a] = 0; e_gang[a] = 0; e_attempt[a] = 0;
  e_may_expire[a] = 0; e_joined[a] = 0; e_everyone[a] = 0; e_told_executor[a] = 0; e_by_itself[a] = 0;
  tell_coordinator(a, what, eg, en);
  forget_meeting(eg, en);
  eg = 0; en = 0
}

inline end_entry(a, by_itself) {
  if
  :: e_state[a] == E_DRAINING
  :: else ->
     e_by_itself[a] = by_itself;
     if
     :: !e_told_executor[a] -> bury(a, GONE)
     :: else -> e_state[a] = E_DRAINING; e_may_expire[a] = 0
     fi
  fi
}

inline answer_absent(a, what, g, n) {
#ifndef NO_TOMBSTONE
  raise_tombstone(a, g, n);
#endif
  if
  :: gone_what[OF(a, g)] != 0 && gone_attempt[OF(a, g)] == n -> tell_coordinator(a, gone_what[OF(a, g)], g, n)
  :: else -> tell_coordinator(a, what, g, n)
  fi
}

inline accept_entry(a) {
  e_state[a] = E_COMMITTED;
  e_told_executor[a] = 1; /* from now on its job may */
  tell_coordinator(a, COMMITTED, e_gang[a], e_attempt[a])
}

inline open_gate(a) {
#if ONE_PLACE
  gate_open[e_gang[a]] = gate_open[e_gang[a]] | (1 << e_attempt[a])
#else
  own_gate[a] = 1
#endif
}

inline new_boot(a) {
  boot[a]++;
  assert(boot[a] <= 3); /* a bound of the model */
  counted_dead[a] = 0;
  enlisted[a] = 0;
  eg = e_gang[a]; en = e_attempt[a];
  rank[a] = 0; completes[a] = 0; own_gate[a] = 0;
  e_state[a] = 0; e_gang[a] = 0; e_attempt[a] = 0;
  e_may_expire[a] = 0; e_joined[a] = 0; e_everyone[a] = 0; e_told_executor[a] = 0; e_by_itself[a] = 0;
  WHEN(en != 0, forget_meeting(eg, en));
  x = 0;
  do
  :: x < GANGS -> tombstone[OF(a, x)] = 0; executor_up[OF(a, x)] = 0; executor_over[OF(a, x)] = 0;
     dead_here[OF(a, x)] = 0; gone_what[OF(a, x)] = 0; gone_attempt[OF(a, x)] = 0; x++
  :: else -> break
  od;
  eg = 0; en = 0; x = 0
}

/* Only the last attempt matters of what has finished: that of an open Go. */
#define HAS_FINISHED(a, g) (gone_what[OF(a, g)] == FINISHED && gone_attempt[OF(a, g)] == attempt[g])
#define FINISHED_HERE(a) ((HAS_FINISHED(a, 0) << 12) SECOND(| (HAS_FINISHED(a, 1) << 13)))

inline send_list(a) {
  en = (e_state[a] == E_RUNNING -> ENLIST_RUNNING :
       (e_state[a] < E_COMMITTED || e_state[a] == E_DRAINING -> ENLIST :
       (e_joined[a] -> ENLIST_JOINED : ENLIST_COMMITTED)));
  tell_coordinator(a, (en | FINISHED_HERE(a)), e_gang[a], e_attempt[a]);
  en = 0
}

inline adopt(a, t) {
  if
  :: t > term_seen[a] ->
     term_seen[a] = t;
     enlisted[a] = 0;
     x = 0;
     do
     :: x < GANGS -> tombstone[OF(a, x)] = 0; x++
     :: else -> break
     od;
     x = 0
  :: else
  fi
}

inline order(a, m) {
  if
#ifndef NO_BOOT_CHECK
  :: BOOT(m) != boot[a]
#endif
#ifndef NO_TERM_CHECK
  :: TERM(m) < term_seen[a]
#endif
  :: else ->
     adopt(a, TERM(m));
     g = GANG(m);
     n = ATTEMPT(m);
     if
     :: WHAT(m) == FOLLOW ->
        WHEN(!enlisted[a], send_list(a))
     :: WHAT(m) == ENLISTED ->
        WHEN(connected[a], enlisted[a] = 1);
        if
        :: n == 0
        :: n != 0 && IS_ENTRY(a, g, n) -> end_entry(a, 0)
        :: else -> answer_absent(a, ABSENT, g, n)
        fi
     :: WHAT(m) == EXPELLED -> new_boot(a); connected[a] = 0
     :: WHAT(m) == RESERVE ->
        if
        :: IS_ENTRY(a, g, n) && e_state[a] == E_DRAINING
        :: IS_ENTRY(a, g, n) && e_state[a] == E_COMMITTED -> tell_coordinator(a, COMMITTED, g, n)
        :: IS_ENTRY(a, g, n) && e_state[a] != E_DRAINING && e_state[a] != E_COMMITTED ->
           tell_coordinator(a, RESERVED, g, n)
        :: else ->
           if
           :: n <= tombstone[OF(a, g)] -> answer_absent(a, REFUSED, g, n)
           :: n > tombstone[OF(a, g)] && e_state[a] != 0 -> answer_absent(a, REFUSED, g, n)
           :: else ->
              assert(n > dead_here[OF(a, g)]); /* no resurrection */
              e_state[a] = E_RESERVED; e_gang[a] = g; e_attempt[a] = n; e_may_expire[a] = 1;
              if
              :: executor_up[OF(a, g)] -> accept_entry(a)
              :: else -> tell_coordinator(a, RESERVED, g, n)
              fi
           fi
        fi
#ifdef COMMIT_AFTER_EXPIRY
     :: WHAT(m) == COMMIT && e_state[a] == 0 ->
        assert(n > dead_here[OF(a, g)]); /* no resurrection */
        e_state[a] = E_STARTING; e_gang[a] = g; e_attempt[a] = n
#endif
     :: else ->
        if
        :: !IS_ENTRY(a, g, n) -> answer_absent(a, ABSENT, g, n)
        :: else ->
           if
           :: WHAT(m) == COMMIT ->
              if
              :: e_state[a] == E_RESERVED ->
                 e_state[a] = E_STARTING;
                 e_may_expire[a] = 0;
                 WHEN(executor_up[OF(a, g)], accept_entry(a))
              :: e_state[a] >= E_COMMITTED && e_state[a] <= E_RUNNING ->
                 WHEN(e_state[a] == E_COMMITTED, e_may_expire[a] = 0);
                 tell_coordinator(a, COMMITTED, g, n)
              :: else
              fi
           :: WHAT(m) == GO ->
              WHEN(e_state[a] == E_COMMITTED, e_state[a] = E_JOINING; e_may_expire[a] = 1);
              if
              :: e_joined[a] && e_state[a] != E_DRAINING && e_everyone[a] -> tell_coordinator(a, EVERYONE, g, n)
              :: e_joined[a] && e_state[a] != E_DRAINING && !e_everyone[a] -> tell_coordinator(a, JOINED, g, n)
              :: else
              fi
           :: WHAT(m) == PERMIT ->
              if
              :: e_told_executor[a] && e_state[a] != E_DRAINING ->
#if ONE_PLACE
                 open_gate(a)
#else
                 skip
#endif
              :: else
              fi
           :: WHAT(m) == ENTER ->
              if
              :: e_state[a] == E_COMMITTED || e_state[a] == E_JOINING ->
                 e_state[a] = E_RUNNING;
                 e_may_expire[a] = 0;
                 WHEN(e_joined[a], open_gate(a))
              :: else
              fi
           :: WHAT(m) == CLOSE || WHAT(m) == REVOKE -> end_entry(a, 0)
           :: WHAT(m) == ABORT ->
#ifdef ABORT_FOR_REVOKE
              WHEN(e_state[a] >= E_COMMITTED && e_state[a] <= E_RUNNING, e_told_executor[a] = 0);
#else
              WHEN(e_state[a] == E_COMMITTED, e_told_executor[a] = 0);
#endif
              end_entry(a, 0)
           :: else
           fi
        fi
     fi
  fi;
  g = 0; n = 0
}

/* Is this the agent on which rank r of the entry's attempt lives? By the job's table, which is that of the Go. */
#define RANK_OF(a, g) (p_agent[(g) * 2] == (a) -> 0 : 1)
#define ALL_CAME(g, n) ((came[(g) * 2] >> (n)) & (came[(g) * 2 + 1] >> (n)) & 1)

/* A rank of another attempt of the gang is in user code, on a boot that nobody has declared dead. */
#define OTHER_INSIDE(a, y) ((y) != (a) && rank[y] >= R_INSIDE && e_gang[y] == e_gang[a] && \
                            e_attempt[y] != e_attempt[a] && !counted_dead[y])
#define ANOTHER_ATTEMPT_INSIDE(a) (OTHER_INSIDE(a, 0) || OTHER_INSIDE(a, 1) THIRD(|| OTHER_INSIDE(a, 2)))

#if ONE_PLACE
#ifdef START_BEFORE_ALL_JOINED
#define MAY_ENTER(a) ((gate_open[e_gang[a]] >> e_attempt[a]) & 1)
#else
#define MAY_ENTER(a) (((gate_open[e_gang[a]] >> e_attempt[a]) & 1) && ALL_CAME(e_gang[a], e_attempt[a]))
#endif
#else
#define MAY_ENTER(a) own_gate[a]
#endif

/* A rank that waits at the one gate reports itself after a while: when nothing else can happen, or at any time. */
#if ONE_PLACE
#define MAY_REPORT(a) (completes[a] || SLOW || timeout)
#else
#define MAY_REPORT(a) ALL_CAME(e_gang[a], e_attempt[a])
#endif

proctype agent(byte a) {
end:
  do
  /* A message comes, the older or the younger of two. */
  :: atomic {
       if
       :: d_step { len(to_agent[a]) > 0 -> to_agent[a]?m }
       :: d_step { len(to_agent[a]) == 2 -> to_agent[a]?m2; to_agent[a]?m; to_agent[a]!!m2; m2 = 0 }
       fi;
       d_step {
         printf("agent %d (boot %d, term %d) gets message %d, gang %d, attempt %d, term %d, boot %d\n", a, boot[a],
                term_seen[a], WHAT(m), GANG(m), ATTEMPT(m), TERM(m), BOOT(m));
         order(a, m); m = 0 } }

  /* Its executor. */
  :: d_step { e_state[a] == E_STARTING -> printf("agent %d: the executor is ready\n", a);
       executor_up[OF(a, e_gang[a])] = 1; accept_entry(a) }
  :: d_step { e_state[a] == E_STARTING && faults > 0 && timeouts > 0 ->
       printf("agent %d: the executor does not start\n", a);
       take(timeouts); end_entry(a, 1) }
  :: d_step { faults > 0 && executor_deaths > 0 && e_state[a] >= E_COMMITTED ->
       printf("agent %d: the executor dies\n", a);
       take(executor_deaths);
       executor_up[OF(a, e_gang[a])] = 0; executor_over[OF(a, e_gang[a])] = e_attempt[a];
       rank[a] = 0; completes[a] = 0; own_gate[a] = 0;
       WHEN(e_state[a] != E_DRAINING, e_by_itself[a] = 1);
       bury(a, GONE) }

  /* Its rank. */
  :: d_step { rank[a] == R_WAITS && !e_joined[a] && (e_state[a] == E_COMMITTED || e_state[a] == E_JOINING) &&
              MAY_REPORT(a) ->
       printf("agent %d: the rank reports that %d\n", a, completes[a]);
       e_state[a] = E_JOINING; e_may_expire[a] = 1; e_joined[a] = 1;
       if
       :: completes[a] && ONE_PLACE -> e_everyone[a] = 1; tell_coordinator(a, EVERYONE, e_gang[a], e_attempt[a])
       :: else -> tell_coordinator(a, JOINED, e_gang[a], e_attempt[a])
       fi }
  :: d_step { rank[a] == R_INSIDE && !e_joined[a] && completes[a] && ONE_PLACE &&
              (e_state[a] == E_COMMITTED || e_state[a] == E_JOINING) ->
       printf("agent %d: the rank reports everyone, and is inside\n", a);
       e_state[a] = E_JOINING; e_may_expire[a] = 1; e_joined[a] = 1; e_everyone[a] = 1;
       tell_coordinator(a, EVERYONE, e_gang[a], e_attempt[a]) }
  :: d_step { rank[a] == R_WAITS && MAY_ENTER(a) ->
       printf("agent %d: the rank of gang %d attempt %d enters\n", a, e_gang[a], e_attempt[a]);
       assert(ALL_CAME(e_gang[a], e_attempt[a])); /* atomic start: all ranks have joined */
       assert((go_durable[e_gang[a]] >> e_attempt[a]) & 1); /* atomic start: the Go is durable */
       assert(counted_dead[a] || !ANOTHER_ATTEMPT_INSIDE(a)); /* one live attempt */
       rank[a] = R_INSIDE }
#if LONG
  :: d_step { rank[a] == R_INSIDE && timeout ->
       assert(e_state[a] == E_RUNNING || e_state[a] == E_DRAINING); /* restart: no deadline of joining ends what runs */
       printf("agent %d: the rank returns\n", a);
#else
  :: d_step { rank[a] == R_INSIDE -> printf("agent %d: the rank returns\n", a);
#endif
       rank[a] = R_RETURNED;
       n = e_gang[a] * 2 + RANK_OF(a, e_gang[a]);
       WHEN(fence[e_gang[a]] == e_attempt[a], result[n] = 1);
       n = 0 }
  :: d_step { rank[a] == R_INSIDE && faults > 0 && bad_ranks > 0 -> printf("agent %d: the rank fails\n", a);
       take(bad_ranks); rank[a] = R_FAILED }
  :: d_step { rank[a] == R_RETURNED && e_state[a] >= E_COMMITTED && e_state[a] <= E_RUNNING ->
       printf("agent %d: ranks have returned\n", a);
       rank[a] = 0; completes[a] = 0; own_gate[a] = 0;
       executor_over[OF(a, e_gang[a])] = e_attempt[a];
       bury(a, FINISHED) }
  :: d_step { e_state[a] == E_DRAINING -> printf("agent %d: the executor confirms the end\n", a);
       rank[a] = 0; completes[a] = 0; own_gate[a] = 0;
       executor_over[OF(a, e_gang[a])] = e_attempt[a];
       bury(a, GONE) }

  /* Time. */
#ifdef NO_EXPIRY
#define FOR_GOOD(a) (!up && e_state[a] > E_STARTING && e_state[a] < E_DRAINING)
#else
#define FOR_GOOD(a) (!up && e_state[a] != 0 && e_state[a] < E_DRAINING)
#endif
  :: d_step { e_state[a] != 0 && faults > 0 && expiries[e_gang[a]] > 0 && e_state[a] <= E_JOINING &&
              (e_may_expire[a] || (!connected[a] && e_state[a] == E_COMMITTED)) ->
       printf("agent %d: a deadline of the entry in state %d has passed\n", a, e_state[a]);
       take(expiries[e_gang[a]]); end_entry(a, 1) }
  :: d_step { FOR_GOOD(a) -> printf("agent %d: nobody comes back; the entry in state %d ends\n", a, e_state[a]);
       end_entry(a, 1) }

  /* Connection, and what is said again. */
  :: d_step { !connected[a] && up -> printf("agent %d (boot %d) connects\n", a, boot[a]);
       connected[a] = 1; enlisted[a] = 0;
#if EAGER
       adopt(a, term);
#endif
       send_list(a) }
  :: d_step { connected[a] && !enlisted[a] && up && SILENT(a) &&
              (n_boot[a] == 0 || n_boot[a] == boot[a] || !n_connected[a]) ->
       printf("agent %d (boot %d) enlists again\n", a, boot[a]); send_list(a) }
#define COUNTED(G) FIND(G, gone_attempt[OF(a, G)], a, boot[a])
#define NEWS(G) \
  :: d_step { gone_what[OF(a, G)] != 0 && connected[a] && up && SILENT(a) && term_seen[a] == term && \
              n_boot[a] == boot[a] && (COUNTED(G) == 7 || HOLDS(COUNTED(G))) -> \
       printf("agent %d says again that gang %d attempt %d is gone\n", a, G, gone_attempt[OF(a, G)]); \
       tell_coordinator(a, gone_what[OF(a, G)], G, gone_attempt[OF(a, G)]) }
  EACH_GANG(NEWS)
  od
}

/* ---- the coordinator ------------------------------------------------------------------------------------------- */

inline say_end(g) {
  x = 0;
  do
  :: x < 2 && !HOLDS(g * 2 + x) -> x++
  :: x < 2 && HOLDS(g * 2 + x) ->
     if
     :: m_boot[g * 2 + x] == n_boot[m_agent[g * 2 + x]] && end_revoke[g] ->
        tell_agent(m_agent[g * 2 + x], m_boot[g * 2 + x], REVOKE, g, attempt[g])
     :: m_boot[g * 2 + x] == n_boot[m_agent[g * 2 + x]] && !end_revoke[g] ->
        tell_agent(m_agent[g * 2 + x], m_boot[g * 2 + x], ABORT, g, attempt[g])
     :: else
     fi;
     x++
  :: else -> break
  od;
  x = 0
}

inline forget_members(g) {
  m_agent[g * 2] = 0; m_agent[g * 2 + 1] = 0; m_boot[g * 2] = 0; m_boot[g * 2 + 1] = 0
}

/* At once, or, with LATE_WORD, not before it is said again: in truth somewhere between. */
inline acknowledge_finished(g, i) {
#if !LATE_WORD
  if
  :: m_progress[i] == M_FINISHED && boot[m_agent[i]] == m_boot[i] && gone_what[OF(m_agent[i], g)] == FINISHED &&
     gone_attempt[OF(m_agent[i], g)] == attempt[g] ->
     gone_what[OF(m_agent[i], g)] = 0; gone_attempt[OF(m_agent[i], g)] = 0
  :: else
  fi
#else
  skip
#endif
}

/* Its slots are given back when each member has confirmed. */
inline attempt_may_be_over(g) {
  if
#ifdef ABORT_GIVEN_UP
  :: (phase[g] == CLOSING || phase[g] == ENDING) &&
     ((!HOLDS(g * 2) && !HOLDS(g * 2 + 1)) || (!end_revoke[g] && phase[g] == ENDING)) ->
#else
  :: (phase[g] == CLOSING || phase[g] == ENDING) && !HOLDS(g * 2) && !HOLDS(g * 2 + 1) ->
#endif
     last_had_go[g] = (go[g] != NOT_WRITTEN);
     if
     :: verdict[g] != 0 && verdict_durable[g] -> phase[g] = OVER
     :: verdict[g] != 0 && !verdict_durable[g] -> phase[g] = QUEUED
     :: verdict[g] == 0 && then_park[g] -> phase[g] = PARKED
     :: else -> phase[g] = QUEUED
     fi;
     WHEN(phase[g] == OVER && verdict[g] == CANCELLED, told_cancelled[g] = 1);
     if /* its record may still be on its way to the disk */
     :: go[g] == DURABLE -> go[g] = NOT_WRITTEN
     :: else
     fi;
     acknowledge_finished(g, g * 2);
     acknowledge_finished(g, g * 2 + 1);
     fenced[g] = 0; permitted[g] = 0; speaker[g] = 0; end_revoke[g] = 0; then_park[g] = 0;
     m_progress[g * 2] = 0; m_progress[g * 2 + 1] = 0;
     if /* the table of an open Go is in the journal */
     :: !last_had_go[g] -> forget_members(g)
     :: else
     fi
  :: else
  fi
}

inline end_attempt(g, revoke, park) {
  if
  :: phase[g] == CLOSING
  :: phase[g] == ENDING -> then_park[g] = then_park[g] | park
  :: else ->
#ifdef ABORT_FOR_REVOKE
     end_revoke[g] = 0;
#else
     end_revoke[g] = revoke;
#endif
     then_park[g] = park;
     phase[g] = ENDING;
     speaker[g] = 0; permitted[g] = 0; fenced[g] = 0;
     say_end(g)
  fi
}

inline enter_if_all_joined(g) {
  if
#ifdef GO_NOT_DURABLE_BEFORE_ENTER
  :: phase[g] == JOINING ->
#else
  :: phase[g] == JOINING && go[g] == DURABLE ->
#endif
     if
     :: m_progress[g * 2] >= M_JOINED && m_progress[g * 2 + 1] >= M_JOINED ->
        phase[g] = RUNNING;
        if
        :: speaker[g] == 0 ->
           tell_agent(m_agent[g * 2], m_boot[g * 2], ENTER, g, attempt[g]);
           tell_agent(m_agent[g * 2 + 1], m_boot[g * 2 + 1], ENTER, g, attempt[g])
        :: speaker[g] != 0 && !permitted[g] ->
           tell_agent(m_agent[g * 2 + speaker[g] - 1], m_boot[g * 2 + speaker[g] - 1], ENTER, g, attempt[g])
        :: else /* they are in */
        fi;
        permitted[g] = 0;
        speaker[g] = 0
     :: else ->
        WHEN(!permitted[g], permitted[g] = 1; tell_agent(m_agent[g * 2], m_boot[g * 2], PERMIT, g, attempt[g]))
     fi
  :: else
  fi
}

inline everyone_joined(g, r) {
  speaker[g] = r + 1;
  WHEN(m_progress[g * 2] < M_JOINED, m_progress[g * 2] = M_JOINED);
  WHEN(m_progress[g * 2 + 1] < M_JOINED, m_progress[g * 2 + 1] = M_JOINED);
  enter_if_all_joined(g)
}

inline hear_placed(g) {
  placed[g] = 1;
  p_agent[g * 2] = m_agent[g * 2]; p_agent[g * 2 + 1] = m_agent[g * 2 + 1];
  p_boot[g * 2] = m_boot[g * 2]; p_boot[g * 2 + 1] = m_boot[g * 2 + 1]
}

inline decide(g) {
  if
  :: verdict[g] == 0 ->
     phase[g] = JOINING;
     m_progress[g * 2] = M_COMMITTED; m_progress[g * 2 + 1] = M_COMMITTED;
     go[g] = WRITTEN
#if EAGER
     ;
     WHEN(job[g] == J_WANTS, hear_placed(g))
#endif
#ifdef PERMIT_BEFORE_DURABLE
     ; permitted[g] = 1; tell_agent(m_agent[g * 2], m_boot[g * 2], PERMIT, g, attempt[g])
#endif
  :: else
  fi
}

/* All members have committed, or have an executor that is up: the Go is written once the fence is raised. */
inline decide_if_committed(g) {
  if
  :: phase[g] == COMMITTING && fenced[g] && m_progress[g * 2] >= M_READY && m_progress[g * 2 + 1] >= M_READY ->
     decide(g)
  :: else
  fi
}

inline all_reserved(g) {
  if
  :: m_progress[g * 2] >= M_RESERVED && m_progress[g * 2 + 1] >= M_RESERVED ->
     phase[g] = COMMITTING;
     if
     :: m_progress[g * 2] == M_READY && m_progress[g * 2 + 1] == M_READY -> decide_if_committed(g)
     :: else ->
        tell_agent(m_agent[g * 2], m_boot[g * 2], COMMIT, g, attempt[g]);
        tell_agent(m_agent[g * 2 + 1], m_boot[g * 2 + 1], COMMIT, g, attempt[g])
     fi
  :: else
  fi
}

/* i = 2g + rank */
inline progress(g, i, what) {
  if
  :: what == RESERVED && phase[g] == RESERVING && m_progress[i] == M_ASKED ->
     m_progress[i] = M_RESERVED; all_reserved(g)
  :: what == COMMITTED && phase[g] == RESERVING && m_progress[i] == M_ASKED ->
     m_progress[i] = M_READY; all_reserved(g)
  :: what == COMMITTED && phase[g] == COMMITTING && m_progress[i] == M_READY -> m_progress[i] = M_COMMITTED
  :: what == COMMITTED && phase[g] == COMMITTING && m_progress[i] == M_RESERVED ->
     m_progress[i] = M_COMMITTED; decide_if_committed(g)
  :: what == JOINED && phase[g] == JOINING && m_progress[i] == M_COMMITTED ->
     m_progress[i] = M_JOINED;
     WHEN(m_progress[g * 2] >= M_JOINED && m_progress[g * 2 + 1] >= M_JOINED, enter_if_all_joined(g))
  :: what == EVERYONE && phase[g] == JOINING && m_progress[i] == M_COMMITTED -> everyone_joined(g, i - g * 2)
  :: else
  fi
}

/* A thread of the attempt lives at the agent, on the boot of the member. */
#define THREAD_LEFT(a, b, g, n) (boot[a] == (b) && rank[a] != 0 && IS_ENTRY(a, g, n))

inline member_gone(g, i, what, by_death) {
  if
  :: HOLDS(i) ->
     assert(by_death || !THREAD_LEFT(m_agent[i], m_boot[i], g, attempt[g])); /* ledger: credited after the end only */
     WHEN(what == FINISHED && phase[g] == JOINING && permitted[g], everyone_joined(g, i - g * 2));
     if
     :: what == FINISHED && phase[g] >= RUNNING -> m_progress[i] = M_FINISHED
     :: else -> m_progress[i] = M_GONE
     fi;
     if
     :: phase[g] == CLOSING || phase[g] == ENDING
     :: (phase[g] == RUNNING || phase[g] == RECOVERING) && m_progress[i] == M_FINISHED
     :: BEFORE_GO(g) -> end_attempt(g, 0, 0)
     :: else -> end_attempt(g, 1, 1)
     fi;
     attempt_may_be_over(g)
  :: else
  fi
}

/* Members on that boot of the agent, and what it held without being kept. */
inline declare_dead(a, b) {
  n_dead[a] = n_dead[a] | (1 << (b));
  WHEN(b == boot[a], counted_dead[a] = 1);
  WHEN(b == n_boot[a], n_boot[a] = 0; n_listed[a] = 0; n_connected[a] = 0; orphan_gang[a] = 0; orphan_attempt[a] = 0);
  y = 0;
  do
  :: y < GANGS * 2 ->
     WHEN(LIVE(y / 2) && m_agent[y] == a && m_boot[y] == b, member_gone((y / 2), y, GONE, 1));
     y++
  :: else -> break
  od;
  y = 0
}

/* A gang of an earlier term, when a node or the job is back: go_on_if_all_back. */
inline go_on(g) {
  if
  :: phase[g] == RECOVERING && fenced[g] && verdict[g] == 0 && m_progress[g * 2] != M_ASKED &&
     m_progress[g * 2 + 1] != M_ASKED ->
     printf("coordinator: gang %d attempt %d goes on\n", g, attempt[g]);
     phase[g] = JOINING;
     if /* who was entered, or has finished, shows that all had joined */
     :: m_progress[g * 2] >= M_ENTERED || m_progress[g * 2 + 1] >= M_ENTERED ->
        WHEN(m_progress[g * 2] <= M_ENTERED, m_progress[g * 2] = M_JOINED);
        WHEN(m_progress[g * 2 + 1] <= M_ENTERED, m_progress[g * 2 + 1] = M_JOINED)
     :: else
     fi;
     enter_if_all_joined(g)
  :: else
  fi
}

/* The list of that boot, taken under this term: came_back of each member. */
inline count_list(a, b, m) {
  WHEN(n != 0 && FIND(g, n, a, b) == 7, orphan_gang[a] = g; orphan_attempt[a] = n);
  y = 0;
  do
  :: y < GANGS * 2 ->
     if
     :: LIVE(y / 2) && m_agent[y] == a && m_boot[y] == b && HOLDS(y) ->
        if
        :: n != 0 && g == y / 2 && n == attempt[y / 2] ->
           if
           :: phase[y / 2] == RECOVERING && WHAT(m) == ENLIST -> end_attempt((y / 2), 1, 1)
           :: phase[y / 2] == RECOVERING && WHAT(m) != ENLIST ->
#ifdef EVERYONE_FORGOTTEN
              m_progress[y] = (WHAT(m) == ENLIST_RUNNING -> M_ENTERED :
                              (WHAT(m) == ENLIST_JOINED -> M_JOINED : M_COMMITTED))
#else
              /* One that has joined is asked once more: it may speak for everyone, which its list does not say. */
              m_progress[y] = (WHAT(m) == ENLIST_RUNNING -> M_ENTERED : M_COMMITTED)
#endif
           :: else
           fi
        :: else ->
           member_gone((y / 2), y, (LISTS_FINISHED(m, y / 2) -> FINISHED : ABSENT), 0)
        fi;
        go_on((y / 2))
     :: else
     fi;
     y++
  :: else -> break
  od;
  y = 0
}

inline enlist(a, b, t, m) {
  if
  :: n_boot[a] != b && n_boot[a] != 0 && n_connected[a] /* it must wait until the first is gone */
  :: else ->
     WHEN(n_boot[a] != b && n_boot[a] != 0, v = n_boot[a]; declare_dead(a, v); v = 0);
     n_boot[a] = b;
     n_connected[a] = 1;
     if
     :: t < term -> tell_agent(a, b, FOLLOW, 0, 0)
     :: else ->
        WHEN(!n_listed[a], count_list(a, b, m));
        n_listed[a] = 1;
        tell_agent(a, b, ENLISTED, orphan_gang[a], orphan_attempt[a])
     fi
  fi
}

/* What an agent says. */
inline said(a, m) {
  g = GANG(m);
  n = ATTEMPT(m);
  if
  :: (n_dead[a] >> BOOT(m)) & 1 ->
     if /* the host answers on the connection on which it came */
     :: len(to_agent[a]) < K -> to_agent[a]!!PACK(EXPELLED, 0, 0, term, BOOT(m))
     :: else
     fi
  :: else ->
     if
     :: WHAT(m) >= ENLIST -> enlist(a, BOOT(m), TERM(m), m)
     :: WHAT(m) < ENLIST && (n_boot[a] != BOOT(m) || TERM(m) != term)
     :: else ->
        if /* acknowledged; what has finished not before the attempt is over */
        :: gone_what[OF(a, g)] == WHAT(m) && gone_attempt[OF(a, g)] == n && boot[a] == BOOT(m) &&
           (WHAT(m) == GONE || FIND(g, n, a, BOOT(m)) == 7) ->
           gone_what[OF(a, g)] = 0; gone_attempt[OF(a, g)] = 0
        :: else
        fi;
        i = FIND(g, n, a, BOOT(m));
#ifdef FINISHED_OF_OLDER_ATTEMPT
        WHEN(WHAT(m) == FINISHED && i == 7 && LIVE(g), i = MEMBER(g, a, BOOT(m)));
#endif
#ifdef EVERYONE_OF_ANOTHER_ATTEMPT
        WHEN(WHAT(m) == EVERYONE && i == 7 && LIVE(g), i = MEMBER(g, a, BOOT(m)));
#endif
        if
        :: WHAT(m) == FINISHED || WHAT(m) == GONE || WHAT(m) == ABSENT || WHAT(m) == REFUSED ->
           if
           :: i != 7 ->
              member_gone(g, i, WHAT(m), 0)
#ifndef FINISHED_BEFORE_LIST
              ; go_on(g)
#endif
           :: i == 7 && orphan_attempt[a] == n && orphan_gang[a] == g ->
              orphan_gang[a] = 0; orphan_attempt[a] = 0
           :: else
           fi
        :: else ->
           if
           :: i != 7 -> progress(g, i, WHAT(m))
           :: i == 7 && orphan_attempt[a] == n && orphan_gang[a] == g
           :: else -> tell_agent(a, BOOT(m), REVOKE, g, n)
           fi
        fi;
        i = 0
     fi
  fi;
  g = 0; n = 0
}

inline answer_fence(g) {
  WHEN(fence[g] < attempt[g], placed[g] = 0; result[g * 2] = 0; result[g * 2 + 1] = 0);
  fence[g] = attempt[g]; fence_open[g] = 1; fenced[g] = 1
}

inline start_attempt(g, a0, a1) {
  printf("coordinator: gang %d, attempt %d, reserves on %d and %d\n", g, attempt[g] + 1, a0, a1);
  attempt[g]++;
  assert(attempt[g] <= 7); /* a bound of the model */
  assert(go[g] == NOT_WRITTEN && disk_go[g] == 0);
#ifdef HEALTHY
  assert(!((go_durable[g] >> (attempt[g] - 1)) & 1)); /* restart: what can go on does */
#endif
  phase[g] = RESERVING;
  m_agent[g * 2] = a0; m_agent[g * 2 + 1] = a1;
  m_boot[g * 2] = n_boot[a0]; m_boot[g * 2 + 1] = n_boot[a1];
  m_progress[g * 2] = M_ASKED; m_progress[g * 2 + 1] = M_ASKED;
  last_had_go[g] = 0;
#if EAGER
  answer_fence(g);
#endif
  tell_agent(a0, m_boot[g * 2], RESERVE, g, attempt[g]);
  tell_agent(a1, m_boot[g * 2 + 1], RESERVE, g, attempt[g])
}

/* The head of the queue: gangs in the order of their numbers. */
#define UNSERVED(g) (phase[g] == QUEUED && verdict[g] == 0 && job[g] == J_WANTS)
#define HEAD(g) (UNSERVED(g) && ((g) == 0 || !UNSERVED(0)))

/* What is owed to member i, said again; 0: nothing, or nothing that would be heard or would change anything. */
#define AT(i) m_agent[i]
#define ENTRY_OF(g, i) IS_ENTRY(AT(i), g, attempt[g])
#ifdef ENDLESS_REVOKE
#define DRAINS(g, i) false
#else
#define DRAINS(g, i) (ENTRY_OF(g, i) && e_state[AT(i)] == E_DRAINING)
#endif
#define OWED(g, i) \
  (!HOLDS(i) || !n_connected[AT(i)] || m_boot[i] != n_boot[AT(i)] || m_boot[i] != boot[AT(i)] || !SILENT(AT(i)) || \
   DRAINS(g, i) -> 0 : \
  (phase[g] == RESERVING -> (m_progress[i] == M_ASKED -> RESERVE : 0) : \
  (phase[g] == COMMITTING -> \
    (m_progress[i] < M_COMMITTED && !(ENTRY_OF(g, i) && e_state[AT(i)] == E_STARTING) -> COMMIT : 0) : \
  (phase[g] == JOINING -> \
    (m_progress[i] < M_JOINED && !(ENTRY_OF(g, i) && e_state[AT(i)] != E_COMMITTED && !e_joined[AT(i)]) -> GO : 0) : \
  (phase[g] == RUNNING -> (!(ENTRY_OF(g, i) && e_state[AT(i)] == E_RUNNING) -> ENTER : 0) : \
  (phase[g] == CLOSING -> CLOSE : \
  (phase[g] == ENDING -> (end_revoke[g] -> REVOKE : ABORT) : 0)))))))

inline verdict_now(g, what) {
  verdict[g] = what;
  verdict_durable[g] = 0
}

/* After the record, or before it where a gang is released. */
inline end_attempts(g) {
  if
  :: LIVE(g) && phase[g] != CLOSING && phase[g] != ENDING && verdict[g] == RELEASED && !BEFORE_GO(g) ->
     phase[g] = CLOSING; speaker[g] = 0; permitted[g] = 0; fenced[g] = 0;
     attempt_may_be_over(g)
  :: LIVE(g) && BEFORE_GO(g) -> end_attempt(g, 0, 0)
  :: LIVE(g) && !BEFORE_GO(g) && phase[g] != CLOSING && phase[g] != ENDING && verdict[g] != RELEASED ->
     end_attempt(g, 1, 0); attempt_may_be_over(g)
  :: else
  fi
}

/* Contact is lost: what waits for its executor goes at once. */
inline lose_contact(a, late) {
  if
  :: late
  :: else ->
     do
     :: len(to_agent[a]) > 0 -> to_agent[a]?m
     :: else -> break
     od;
     do
     :: len(from_agent[a]) > 0 -> from_agent[a]?m
     :: else -> break
     od;
     m = 0
  fi;
  connected[a] = 0; enlisted[a] = 0;
  WHEN(e_state[a] == E_STARTING, end_entry(a, 1))
}

/* The coordinator that comes back knows the journal and nothing else. */
inline replay() {
  x = 0;
  do
  :: x < AGENTS ->
     n_boot[x] = 0; n_listed[x] = 0; n_connected[x] = 0; n_dead[x] = 0; orphan_gang[x] = 0; orphan_attempt[x] = 0;
     x++
  :: else -> break
  od;
  x = 0;
  do
  :: x < GANGS ->
     fenced[x] = 0; permitted[x] = 0; speaker[x] = 0; end_revoke[x] = 0; then_park[x] = 0;
     last_had_go[x] = 0; requeuing[x] = 0; verdict[x] = 0; verdict_durable[x] = 0; go[x] = NOT_WRITTEN;
     m_progress[x * 2] = 0; m_progress[x * 2 + 1] = 0;
     if
#ifdef CANCEL_AFTER_RESTART
     :: disk_over[x] != 0 ->
        disk_go[x] = 0;
#else
     :: disk_over[x] == RELEASED || (disk_over[x] == CANCELLED && disk_go[x] == 0) ->
#endif
        phase[x] = OVER; verdict[x] = disk_over[x]; verdict_durable[x] = 1;
        forget_members(x)
#ifndef CANCEL_AFTER_RESTART
     :: disk_over[x] == CANCELLED && disk_go[x] != 0 ->
        phase[x] = ENDING; end_revoke[x] = 1; go[x] = DURABLE;
        verdict[x] = CANCELLED; verdict_durable[x] = 1
#endif
#ifdef RESTART_DROPS
     :: disk_over[x] == 0 && disk_go[x] != 0 ->
        phase[x] = ENDING; end_revoke[x] = 1; then_park[x] = 1; go[x] = DURABLE
#else
#ifndef RESTART_FORGETS
     :: disk_over[x] == 0 && disk_go[x] != 0 ->
        phase[x] = RECOVERING; go[x] = DURABLE
#endif
#endif
     :: else ->
        phase[x] = QUEUED; disk_go[x] = 0;
        forget_members(x)
     fi;
     if
     :: LIVE(x) ->
        assert(disk_go[x] == attempt[x]);
        WHEN(n_boot[m_agent[x * 2]] < m_boot[x * 2], n_boot[m_agent[x * 2]] = m_boot[x * 2]);
        WHEN(n_boot[m_agent[x * 2 + 1]] < m_boot[x * 2 + 1], n_boot[m_agent[x * 2 + 1]] = m_boot[x * 2 + 1])
     :: else
     fi;
     x++
  :: else -> break
  od;
  x = 0
}

/* What is not durable when the coordinator crashes may be on the disk or not, the older record first. */
inline crash_journal(g) {
  if
  :: go[g] == WRITTEN -> lost = 1
  :: go[g] == WRITTEN -> disk_go[g] = attempt[g]; go_durable[g] = go_durable[g] | (1 << attempt[g])
  :: else
  fi;
  if
  :: requeuing[g] && !lost -> disk_go[g] = 0
  :: requeuing[g] -> lost = 1
  :: else
  fi;
  if
  :: verdict[g] != 0 && !verdict_durable[g] && !lost ->
     disk_over[g] = verdict[g];
     WHEN(verdict[g] == RELEASED, disk_go[g] = 0)
  :: verdict[g] != 0 && !verdict_durable[g] -> skip
  :: else
  fi;
  lost = 0
}

#define SERVE(G, A, B) \
  :: d_step { up && HEAD(G) && FREE(A) && FREE(B) -> start_attempt(G, A, B) }
#if AGENTS == 3
/* By name, as ledger::place_gang does where all have as much free. */
#define SERVE_GANG(G) SERVE(G, 0, 1) SERVE_OTHERS(G, 0, 2, 1) SERVE_OTHERS(G, 1, 2, 0)
#define SERVE_OTHERS(G, A, B, NOT) \
  :: d_step { up && HEAD(G) && FREE(A) && FREE(B) && !FREE(NOT) -> start_attempt(G, A, B) }
#else
#define SERVE_GANG(G) SERVE(G, 0, 1)
#endif

/* A message comes, the older or the younger of two. */
#define HEAR(A) \
  :: d_step { up && len(from_agent[A]) > 0 -> from_agent[A]?m; who = A } \
  :: d_step { up && len(from_agent[A]) == 2 -> from_agent[A]?m2; from_agent[A]?m; from_agent[A]!!m2; m2 = 0; who = A }

#define SAY_AGAIN(G, I) \
  :: d_step { up && OWED(G, I) != 0 -> \
       printf("coordinator says %d to agent %d of gang %d attempt %d\n", OWED(G, I), AT(I), G, attempt[G]); \
       v = OWED(G, I); tell_agent(AT(I), m_boot[I], v, G, attempt[G]); v = 0 }

/* A member on an older boot of a node of which a younger one is known: it does not come back. */
#define OLD_BOOT(G, I) \
  :: d_step { up && LIVE(G) && HOLDS(I) && m_boot[I] != n_boot[AT(I)] -> who = AT(I); v = m_boot[I] }

#define LOST_NODE(A) \
  :: d_step { up && n_boot[A] != 0 && !n_connected[A] && (boot[A] != n_boot[A] || n_listed[A]) -> \
       who = A; v = n_boot[A] } \
  :: d_step { up && n_boot[A] != 0 && !n_connected[A] && boot[A] == n_boot[A] && !n_listed[A] && \
              faults > 0 && cuts > 0 -> \
       printf("coordinator: agent %d does not come back in time\n", A); \
       take(cuts); who = A; v = n_boot[A] }

#define NODE(A) \
  :: d_step { up && n_connected[A] && boot[A] != n_boot[A] -> \
       printf("coordinator: contact with agent %d is lost\n", A); \
       n_connected[A] = 0 } \
  :: d_step { up && orphan_attempt[A] != 0 && n_connected[A] && n_boot[A] == boot[A] && SILENT(A) && \
              !(IS_ENTRY(A, orphan_gang[A], orphan_attempt[A]) && e_state[A] == E_DRAINING) -> \
       printf("coordinator: agent %d must end gang %d attempt %d, which is not kept\n", A, orphan_gang[A], \
              orphan_attempt[A]); \
       tell_agent(A, n_boot[A], REVOKE, orphan_gang[A], orphan_attempt[A]) }

#define JOURNAL(G) \
  :: d_step { up && go[G] == WRITTEN -> \
       printf("coordinator: the Go of gang %d attempt %d is durable\n", G, attempt[G]); \
       disk_go[G] = attempt[G]; go_durable[G] = go_durable[G] | (1 << attempt[G]); \
       if \
       :: LIVE(G) -> go[G] = DURABLE \
       :: else -> go[G] = NOT_WRITTEN \
       fi; \
       WHEN(verdict[G] == 0, enter_if_all_joined(G)) } \
  :: d_step { up && requeuing[G] && go[G] != WRITTEN -> printf("coordinator: gang %d queues again\n", G); \
       requeuing[G] = 0; phase[G] = QUEUED; last_had_go[G] = 0; disk_go[G] = 0; forget_members(G) } \
  :: d_step { up && phase[G] == OVER && verdict[G] == CANCELLED && disk_go[G] != 0 -> \
       printf("coordinator: the end of the cancelled gang %d is durable\n", G); \
       disk_go[G] = 0; forget_members(G) } \
  :: d_step { up && verdict[G] != 0 && !verdict_durable[G] && go[G] != WRITTEN && !requeuing[G] -> \
       printf("coordinator: verdict %d of gang %d is durable\n", verdict[G], G); \
       verdict_durable[G] = 1; disk_over[G] = verdict[G]; \
       WHEN(verdict[G] == RELEASED, disk_go[G] = 0); \
       end_attempts(G); \
       if \
       :: !LIVE(G) && phase[G] != OVER -> \
          phase[G] = OVER; \
          WHEN(verdict[G] == CANCELLED, told_cancelled[G] = 1) \
       :: else \
       fi }

#define DEADLINE(G) \
  :: d_step { up && phase[G] == RESERVING && faults > 0 && timeouts > 0 -> \
       printf("coordinator: not all answered the reserve of gang %d in time\n", G); \
       take(timeouts); end_attempt(G, 0, 0); attempt_may_be_over(G) } \
  :: d_step { up && BEFORE_GO(G) && !fenced[G] && faults > 0 && timeouts > 0 -> \
       printf("coordinator: the job of gang %d did not answer the fence in time\n", G); \
       take(timeouts); end_attempt(G, 0, 1); attempt_may_be_over(G) } \
  :: d_step { up && phase[G] == RECOVERING && !fenced[G] && faults > 0 && timeouts > 0 -> \
       printf("coordinator: the job of gang %d is silent\n", G); \
       take(timeouts); end_attempt(G, 1, 1); attempt_may_be_over(G) }

proctype coordinator() {
  bit lost;
end:
  do
  :: atomic {
       if
       EACH_AGENT(HEAR)
       fi;
       d_step {
         printf("coordinator hears %d from agent %d, gang %d, attempt %d, term %d, boot %d\n", WHAT(m), who, GANG(m),
                ATTEMPT(m), TERM(m), BOOT(m));
         said(who, m); m = 0; who = 0 } }
  EACH_GANG(SERVE_GANG)
  EACH_GANG(JOURNAL)
  EACH_GANG(DEADLINE)
  EACH_MEMBER(SAY_AGAIN)
  :: atomic {
       if
       EACH_MEMBER(OLD_BOOT)
       EACH_AGENT(LOST_NODE)
       fi;
       d_step {
         printf("coordinator: boot %d of agent %d is dead\n", v, who);
         declare_dead(who, v); who = 0; v = 0 } }
  EACH_AGENT(NODE)
  :: atomic { up && faults > 0 && restarts > 0 ->
       take(restarts);
       printf("coordinator: crash\n");
       crash_journal(0);
       SECOND(crash_journal(1);)
       d_step {
         lose_contact(0, LATE);
         lose_contact(1, LATE);
         THIRD(lose_contact(2, LATE);)
       }
       if
       :: STAYS_AWAY -> printf("coordinator: stays away\n"); up = 0
       :: d_step { term++; printf("coordinator: begins term %d\n", term); replay() }
       fi }
  od
}

/* ---- the job, which a driver runs ------------------------------------------------------------------------------ */

/* Job and coordinator hear each other at once, when they do; what the one wants is read from its state. */
#define STILL_MINE(g) (fence_open[g] && fence[g] == attempt[g])
#define FAILED_RANK(g, i) (rank[p_agent[i]] == R_FAILED && IS_ENTRY(p_agent[i], g, fence[g]))
#define HAS_FAILED(g) (placed[g] && (FAILED_RANK(g, (g) * 2) || FAILED_RANK(g, (g) * 2 + 1)))

proctype driver(byte own) {
end:
  do
  :: d_step { up && BEFORE_GO(own) && !fenced[own] && job[own] == J_WANTS && fence[own] <= attempt[own] &&
              !(fence[own] == attempt[own] && !fence_open[own]) ->
       printf("job %d: fence at attempt %d\n", own, attempt[own]);
       answer_fence(own);
       decide_if_committed(own) }
  :: d_step { up && phase[own] == RECOVERING && !fenced[own] && job[own] == J_WANTS && STILL_MINE(own) &&
              !HAS_FAILED(own) ->
       printf("job %d: fence at attempt %d again\n", own, attempt[own]);
       fenced[own] = 1;
       go_on(own) }
  :: d_step { up && phase[own] == RECOVERING && !fenced[own] && job[own] == J_WANTS && !STILL_MINE(own) ->
       printf("job %d: again, for attempt %d is over\n", own, attempt[own]);
       end_attempt(own, 1, 1); attempt_may_be_over(own) }
  :: d_step { up && phase[own] == JOINING && job[own] == J_WANTS && STILL_MINE(own) && !placed[own] ->
       printf("job %d: attempt %d is placed on %d and %d\n", own, attempt[own], m_agent[own * 2], m_agent[own * 2 + 1]);
       hear_placed(own) }
#define RANK_COMES(r) \
  :: d_step { placed[own] && job[own] == J_WANTS && boot[p_agent[own * 2 + r]] == p_boot[own * 2 + r] && \
              executor_up[OF(p_agent[own * 2 + r], own)] && \
              fence[own] > executor_over[OF(p_agent[own * 2 + r], own)] && \
              rank[p_agent[own * 2 + r]] == 0 -> \
       printf("job %d: rank %d of attempt %d comes to agent %d\n", own, r, fence[own], p_agent[own * 2 + r]); \
       assert(IS_ENTRY(p_agent[own * 2 + r], own, fence[own])); /* single owner: it has its slot */ \
       rank[p_agent[own * 2 + r]] = R_WAITS; \
       came[own * 2 + r] = came[own * 2 + r] | (1 << fence[own]); \
       completes[p_agent[own * 2 + r]] = (ONE_PLACE && ALL_CAME(own, fence[own])) }
  RANK_COMES(0)
  RANK_COMES(1)
  :: d_step { job[own] == J_WANTS && fence_open[own] && result[own * 2] && result[own * 2 + 1] ->
       printf("job %d: all results of attempt %d are here\n", own, fence[own]);
       job[own] = J_RELEASES; placed[own] = 0 }
  :: d_step { up && job[own] == J_RELEASES && verdict[own] == 0 && phase[own] != OVER ->
       printf("job %d: release\n", own);
       verdict_now(own, RELEASED); end_attempts(own) }
  :: d_step { up && job[own] == J_RELEASES && verdict[own] != 0 && verdict_durable[own] ->
       printf("job %d: done\n", own);
       job[own] = J_DONE; fence_open[own] = 0 }
  :: d_step { cancels[own] > 0 && job[own] == J_WANTS -> printf("job %d: cancels\n", own);
       cancels[own]--; job[own] = J_CANCELS }
  :: d_step { up && job[own] == J_CANCELS && verdict[own] == 0 && phase[own] != OVER ->
       printf("job %d: cancel is heard\n", own);
       verdict_now(own, CANCELLED) }
  :: d_step { up && job[own] == J_CANCELS && phase[own] == OVER -> printf("job %d: ended(cancelled)\n", own);
       job[own] = J_CANCELLED; told_cancelled[own] = 1; fence_open[own] = 0; placed[own] = 0 }
  :: d_step { up && job[own] == J_WANTS && phase[own] >= JOINING && phase[own] <= RECOVERING && STILL_MINE(own) &&
              HAS_FAILED(own) ->
       printf("job %d: fail of attempt %d\n", own, fence[own]);
       end_attempt(own, 1, 1); attempt_may_be_over(own) }
  :: d_step { up && phase[own] == PARKED && !requeuing[own] && verdict[own] == 0 && job[own] == J_WANTS &&
              !(fence_open[own] && fence[own] == attempt[own] && result[own * 2] && result[own * 2 + 1]) ->
       printf("job %d: attempt %d has ended; again\n", own, attempt[own]);
       fence_open[own] = 0; placed[own] = 0; result[own * 2] = 0; result[own * 2 + 1] = 0;
       fence[own] = attempt[own];
       if
       :: last_had_go[own] -> requeuing[own] = 1
       :: else -> phase[own] = QUEUED
       fi }
  :: d_step { up && job[own] == J_WANTS && verdict[own] == 0 && (phase[own] == QUEUED || BEFORE_GO(own)) &&
              faults > 0 && parks > 0 ->
       printf("job %d: park\n", own);
       take(parks);
       if
       :: phase[own] == QUEUED -> phase[own] = PARKED
       :: else -> end_attempt(own, 0, 1); attempt_may_be_over(own)
       fi }
  od
}

/* ---- what goes wrong on the way -------------------------------------------------------------------------------- */

#define NETWORK(A) \
  :: d_step { losses > 0 && len(to_agent[A]) > 0 -> to_agent[A]?m; losses--; \
       printf("lost: message %d to agent %d\n", WHAT(m), A); m = 0 } \
  :: d_step { losses > 0 && len(to_agent[A]) == 2 -> to_agent[A]?m2; to_agent[A]?m; to_agent[A]!!m2; losses--; \
       printf("lost: message %d to agent %d\n", WHAT(m), A); m = 0; m2 = 0 } \
  :: d_step { losses > 0 && len(from_agent[A]) > 0 -> from_agent[A]?m; losses--; \
       printf("lost: message %d of agent %d\n", WHAT(m), A); m = 0 } \
  :: d_step { losses > 0 && len(from_agent[A]) == 2 -> from_agent[A]?m2; from_agent[A]?m; from_agent[A]!!m2; losses--; \
       printf("lost: message %d of agent %d\n", WHAT(m), A); m = 0; m2 = 0 } \
  :: d_step { repeats > 0 && len(to_agent[A]) == 1 -> to_agent[A]?m; to_agent[A]!!m; to_agent[A]!!m; repeats--; \
       printf("repeated: message %d to agent %d\n", WHAT(m), A); m = 0 } \
  :: d_step { repeats > 0 && len(from_agent[A]) == 1 -> \
       from_agent[A]?m; from_agent[A]!!m; from_agent[A]!!m; repeats--; \
       printf("repeated: message %d of agent %d\n", WHAT(m), A); m = 0 } \
  :: d_step { faults > 0 && cuts > 0 && connected[A] && n_connected[A] && n_boot[A] == boot[A] -> \
       printf("cut: agent %d\n", A); \
       take(cuts); n_connected[A] = 0; lose_contact(A, 0) } \
  :: d_step { faults > 0 && agent_crashes[A] > 0 && (A == 0 || !CRASHES_OF_FIRST) -> \
       printf("crash: agent %d; it returns\n", A); \
       take(agent_crashes[A]); new_boot(A); connected[A] = 0 }

#define TROUBLE_LEFT faults + losses + repeats + cancels[0] SECOND(+ cancels[1])

proctype trouble() {
end:
  do
  EACH_AGENT(NETWORK)
  /* From here on nothing goes wrong: what must come in the end is looked for after this. */
  :: d_step { TROUBLE_LEFT > 0 ->
       printf("nothing goes wrong any more\n");
       losses = 0; repeats = 0;
       no_more_faults();
       cancels[0] = 0 SECOND(; cancels[1] = 0) }
  od
}

/* ---- what must hold -------------------------------------------------------------------------------------------- */

#define LEDGER_WRONG(a) (FREE(a) && n_boot[a] == boot[a] && e_state[a] != 0)
#define SLOT_WRONG(a) (rank[a] != 0 && e_state[a] < E_COMMITTED)

#define LEDGER_MONITOR(A) :: LEDGER_WRONG(A) -> assert(false)
#define SLOT_MONITOR(A) :: SLOT_WRONG(A) -> assert(false)
#define CANCELLED_RUNS(a) (rank[a] >= R_INSIDE && told_cancelled[e_gang[a]] && !counted_dead[a])
#define CANCEL_MONITOR(A) :: CANCELLED_RUNS(A) -> assert(false)

proctype monitor() {
end:
  do
  EACH_AGENT(LEDGER_MONITOR) /* ledger: it believes no more free than is free */
  EACH_AGENT(SLOT_MONITOR) /* capacity, atomic start: a rank has a slot that is committed */
  EACH_AGENT(CANCEL_MONITOR) /* cancel: its job is not told before nothing runs */
  od
}

#define AT_REST(a) (e_state[a] == 0 && rank[a] == 0)
#define ALL_FREE(a) (FREE(a) && connected[a] && enlisted[a])
#define SETTLED(g) (phase[g] == OVER && job[g] >= J_DONE && disk_go[g] == 0)
/* Something is left that a rank does when nothing else can happen. */
#define RANK_ACTS(a) ((LONG && rank[a] == R_INSIDE) || \
                      (ONE_PLACE && rank[a] == R_WAITS && !e_joined[a] && \
                       (e_state[a] == E_COMMITTED || e_state[a] == E_JOINING)))
#define ANY_RANK_ACTS (RANK_ACTS(0) || RANK_ACTS(1) THIRD(|| RANK_ACTS(2)))

/* Nobody can do anything any more: every run comes here, as no step can be taken for ever. */
proctype rest() {
  atomic { timeout && !ANY_RANK_ACTS ->
    assert(AT_REST(0) && AT_REST(1) THIRD(&& AT_REST(2))); /* bounded hoarding: no slot is held for ever */
    if
    :: up ->
       assert(SETTLED(0) SECOND(&& SETTLED(1))); /* no silent end: each gang ran, or its job was told */
       assert(ALL_FREE(0) && ALL_FREE(1) THIRD(&& ALL_FREE(2))); /* a gang that is over holds nothing */
    :: else
    fi
  }
}

init {
  atomic {
    run coordinator();
    run agent(0);
    run agent(1);
    THIRD(run agent(2);)
    run driver(0);
    SECOND(run driver(1);)
    run trouble();
    run monitor();
    run rest()
  }
}
