/*
 * Model of the budget of agent runs (src/delivery/agent_runs.c): workers that claim runs for
 * notifications of one task, people who write there, and agents that mention each other in every
 * reply. scripts/model.sh lets Spin explore every interleaving.
 *
 * Each atomic block is what the C code does while holding the lock of the agent runs, or one
 * exchange with a server. A notification is pending until a worker takes it and, unless it has
 * ended, again afterwards, as the send queue has it. Beside each count of the code there is a true
 * one, which knows for each claim when and under which root it was made. A period is the time
 * between two messages of people, as far as the task has seen them.
 *
 * Simplifications: there is one task. A person's message names one agent, an agent's message each
 * of the two others, as long as there is room for notifications. Nothing is forgotten, neither old
 * counts nor those that were used least recently. A note counts in the period in which it was
 * decided, though it may be posted later.
 *
 * -DBREAK=RULE removes one rule of the code, named beside it, and scripts/model.sh checks that Spin
 * detects it.
 */
#define COUNT_AT_CLAIM 1             /* claim_counts_locked: root->runs++, task->runs++ */
#define TAKE_BACK 2                  /* take_back_locked: count->runs-- */
#define TAKE_BACK_OF_PERIOD 3        /* take_back_locked: count->person_ms == person_ms */
#define TASK_LIMIT 4                 /* claim_counts_locked: task->runs >= runs->max_runs */
#define ROOT_LIMIT 5                 /* claim_counts_locked: root->runs >= runs->max_runs */
#define PEOPLE_ARE_EXEMPT 6          /* claim_counts_locked: run->by_agent */
#define PERSON_RESETS_TASK 7         /* reset_task: task->runs = 0 */
#define PERSON_RESETS_ONCE 8         /* reset_task: person_wrote_ms <= task->person_ms */
#define PAIR_CLAIMED 9               /* agent_runs_claim: pair->holder = ... */
#define HOLDER_MAY_ASK_AGAIN 10      /* agent_runs_claim: strcmp of the pair's holder */
#define NOTE_HELD 11                 /* take_note: root->holder, task->holder = ... */
#define PERSON_RESETS_NOTE 12        /* reset_task: task->holder[0] = '\0' */
#define REFUSED_NOTE_IS_FORGOTTEN 13 /* agent_runs_end_note: holder = "" */
#define POSTED_NOTE_IS_OVER 14       /* agent_runs_end_note: holder = "-" */
#ifndef BREAK
#define BREAK 0
#endif
#define KEEPS(rule) (BREAK != rule)

/* Bounds of the state space; each increases the run time. */
#define MAX_RUNS 2 /* DELIVERY_MAX_AGENT_RUNS */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef PEOPLE
#define PEOPLE 2 /* messages of people, each of which is a root */
#endif
#ifndef SPELLINGS
#define SPELLINGS 2 /* by which a person's message names its agent */
#endif
#ifndef REFUSALS
#define REFUSALS 2 /* requests that certainly ran no agent */
#endif
#ifndef FAILURES
#define FAILURES 1 /* runs without a reply, and calls of the backend */
#endif
#define NOTIFICATIONS 6 /* IS_ANY_PENDING names each */
#define AGENTS 3
#define MESSAGES NOTIFICATIONS
#define NOBODY 255
#define POSTED 254 /* the holder of a note that has been posted */

mtype = { NONE, PENDING, TAKEN, ENDED };
mtype state[NOTIFICATIONS] = NONE;
byte message_of[NOTIFICATIONS];
byte agent_of[NOTIFICATIONS];
byte root_of[NOTIFICATIONS];
bool by_agent[NOTIFICATIONS];
byte notifications;
byte messages = PEOPLE; /* those of agents come after those of people */

/* The tables of struct agent_runs. */
byte root_runs[PEOPLE];
byte root_holder[PEOPLE] = NOBODY; /* of the note */
byte task_runs;
byte task_holder = NOBODY;
byte task_person;                             /* 1 + the last person's message seen there */
byte pair_holder[MESSAGES * AGENTS] = NOBODY; /* of the run */
#define PAIR(notification) pair_holder[message_of[notification] * AGENTS + agent_of[notification]]
#define PENDS(notification) (state[notification] == PENDING)
#define IS_ANY_PENDING (PENDS(0) || PENDS(1) || PENDS(2) || PENDS(3) || PENDS(4) || PENDS(5))
#define WROTE(notification) (by_agent[notification] -> 0 : root_of[notification] + 1)

byte refusals_left = REFUSALS;
byte failures_left = FAILURES;

/* What is true, beyond what the code knows. */
byte true_root_runs[PEOPLE]; /* claimed and not taken back */
byte true_task_runs;         /* of these, since a person's message was last seen */
byte noted; /* notifications that were to post the note since then, but for those refused */
byte posted; /* notes, likewise */
bool root_noted[PEOPLE];
byte pair_run[MESSAGES * AGENTS] = NOBODY; /* the notification for which it was run */
#define PAIR_RUN(notification) pair_run[message_of[notification] * AGENTS + agent_of[notification]]

/* Violations, recorded where they happen. */
bool overrun;        /* a run that an agent caused was allowed beyond the limit */
bool early_skip;     /* one was skipped that the limit would have allowed */
bool person_skipped; /* by the limit */
bool second_run;     /* two notifications of the same message to the same agent were run */
bool second_note;    /* between two messages of people */
bool missing_note;   /* the first that was skipped did not have to post it */
bool lost_pair;      /* skipped for another notification that does not have the run */

inline notify(agent, message, root, caused_by_agent)
{
    if
    :: notifications < NOTIFICATIONS ->
        state[notifications] = PENDING;
        message_of[notifications] = message;
        agent_of[notifications] = agent;
        root_of[notifications] = root;
        by_agent[notifications] = caused_by_agent;
        notifications++
    :: else
    fi
}

/* reset_task */
inline reset_task()
{
    if
    :: WROTE(id) > (KEEPS(PERSON_RESETS_ONCE) -> task_person : 0) ->
        task_runs = (KEEPS(PERSON_RESETS_TASK) -> 0 : task_runs);
        task_holder = (KEEPS(PERSON_RESETS_NOTE) -> NOBODY : task_holder)
    :: else
    fi;
    if
    :: WROTE(id) > task_person ->
        task_person = WROTE(id);
        true_task_runs = 0;
        noted = 0;
        posted = 0
    :: else
    fi
}

/* take_note */
#define NOTE_IS_FREE(holder) (holder == NOBODY || holder == id)
inline take_note()
{
    if
    :: NOTE_IS_FREE(root_holder[root_of[id]]) && NOTE_IS_FREE(task_holder) ->
        note_due = true;
        period = task_person;
        noted = noted + (task_holder != id || root_holder[root_of[id]] != id);
        second_note = second_note || noted > 1;
        root_noted[root_of[id]] = true;
        root_holder[root_of[id]] = (KEEPS(NOTE_HELD) -> id : NOBODY);
        task_holder = (KEEPS(NOTE_HELD) -> id : NOBODY)
    :: else -> missing_note = noted == 0 && !root_noted[root_of[id]]
    fi
}

#define ROOT_IS_FULL (root_runs[root_of[id]] >= MAX_RUNS && KEEPS(ROOT_LIMIT))
#define TASK_IS_FULL (task_runs >= MAX_RUNS && KEEPS(TASK_LIMIT))
#define TRULY_FULL (true_root_runs[root_of[id]] >= MAX_RUNS || true_task_runs >= MAX_RUNS)

inline count_run()
{
    root_runs[root_of[id]]++;
    task_runs++
}

/* claim_counts_locked */
inline claim_counts()
{
    reset_task();
    if
    :: (by_agent[id] || !KEEPS(PEOPLE_ARE_EXEMPT)) && (ROOT_IS_FULL || TASK_IS_FULL) ->
        person_skipped = !by_agent[id];
        early_skip = !TRULY_FULL;
        take_note()
    :: else ->
        claimed = true;
        overrun = by_agent[id] && TRULY_FULL;
        true_root_runs[root_of[id]]++;
        true_task_runs++;
        period = task_person;
        if
        :: KEEPS(COUNT_AT_CLAIM) -> count_run()
        :: else
        fi
    fi
}

/* agent_runs_claim */
inline agent_runs_claim()
{
    if
    :: PAIR(id) != NOBODY && (PAIR(id) != id || !KEEPS(HOLDER_MAY_ASK_AGAIN)) ->
        lost_pair = PAIR(id) == id
    :: else ->
        claim_counts();
        if
        :: claimed && KEEPS(PAIR_CLAIMED) -> PAIR(id) = id
        :: else
        fi
    fi
}

/* agent_runs_take_back: of the task's count only what has been counted since its last reset. */
inline agent_runs_take_back()
{
    true_root_runs[root_of[id]]--;
    if
    :: period == task_person -> true_task_runs--
    :: else
    fi;
    if
    :: KEEPS(TAKE_BACK) && KEEPS(COUNT_AT_CLAIM) ->
        root_runs[root_of[id]]--;
        if
        :: (period == task_person || !KEEPS(TAKE_BACK_OF_PERIOD)) && task_runs > 0 -> task_runs--
        :: else
        fi
    :: else
    fi
}

inline leave_as(next)
{
    state[id] = next;
    id = 0;
    claimed = false;
    note_due = false;
    period = 0
}

/* The request ended: the run stays counted. */
inline end_run()
{
    second_run = PAIR_RUN(id) != NOBODY && PAIR_RUN(id) != id;
    PAIR_RUN(id) = id;
    if
    :: !KEEPS(COUNT_AT_CLAIM) -> count_run()
    :: else
    fi
}

/* replace_holder_locked, for the root and for the task */
inline replace_holders(holder)
{
    root_holder[root_of[id]] = (root_holder[root_of[id]] == id -> holder : root_holder[root_of[id]]);
    task_holder = (task_holder == id -> holder : task_holder)
}

/* agent_runs_end_note: it is refused */
inline refuse_note()
{
    noted = noted - (period == task_person);
    root_noted[root_of[id]] = false;
    if
    :: KEEPS(REFUSED_NOTE_IS_FORGOTTEN) -> replace_holders(NOBODY)
    :: else
    fi
}

/* agent_runs_end_note: it is posted */
inline post_note_once()
{
    posted = posted + (period == task_person);
    second_note = second_note || posted > 1;
    if
    :: KEEPS(POSTED_NOTE_IS_OVER) -> replace_holders(POSTED)
    :: else
    fi
}

active [WORKERS] proctype worker()
{
    byte id;
    byte period;
    bool claimed;
    bool note_due;
take:
end:
    atomic {
        IS_ANY_PENDING;
        select(id : 0 .. NOTIFICATIONS - 1);
        if
        :: PENDS(id) -> state[id] = TAKEN
        :: !PENDS(id) -> id = 0; goto take
        fi
    }
    atomic {
        agent_runs_claim();
        if
        :: claimed -> goto ask
        :: note_due -> goto post_note
        :: !claimed && !note_due -> leave_as(ENDED); goto take
        fi
    }
ask:
    atomic { /* An agent that answers mentions the two others. */
        if
        :: end_run();
            notify((agent_of[id] + 1) % AGENTS, messages, root_of[id], true);
            notify((agent_of[id] + 2) % AGENTS, messages, root_of[id], true);
            messages = (messages < MESSAGES - 1 -> messages + 1 : messages);
            leave_as(ENDED)
        :: failures_left > 0 -> failures_left--; end_run(); leave_as(PENDING)
        :: refusals_left > 0 -> refusals_left--; agent_runs_take_back(); leave_as(PENDING)
        fi;
        goto take
    }
post_note:
    atomic { /* posted, failed in a way that is tried again, or refused for good */
        if
        :: post_note_once(); leave_as(ENDED)
        /* changed to a newer message, of an agent as well, before it was marked */
        :: failures_left > 0 -> failures_left--; post_note_once(); leave_as(PENDING)
        :: failures_left > 0 -> failures_left--; leave_as(PENDING)
        :: failures_left > 0 -> failures_left--; refuse_note(); leave_as(ENDED)
        fi;
        goto take
    }
}

active proctype people()
{
    byte written;
    do
    :: written < PEOPLE ->
        atomic {
            notify(0, written, written, false);
            if
            :: SPELLINGS > 1 -> notify(0, written, written, false)
            :: else
            fi;
            written++
        }
    :: written == PEOPLE -> break
    od
}

/* What has to hold; with -DCHECK=NAME only the one of that name is looked for. */
#define never_over_the_limit 1
#define all_runs_are_used 2
#define people_are_heard 3
#define one_run_per_pair 4
#define one_note 5
#define note_is_given 6
#define pair_is_held 7

#ifdef CHECK
#define CHECKS(property) (CHECK == property)
#else
#define CHECKS(property) true
#endif
#define VIOLATES(property, violation) CHECKS(property) && (violation) -> assert(!property)

active proctype guard()
{
end:
    if
    :: VIOLATES(never_over_the_limit, overrun)
    :: VIOLATES(all_runs_are_used, early_skip)
    :: VIOLATES(people_are_heard, person_skipped)
    :: VIOLATES(one_run_per_pair, second_run)
    :: VIOLATES(one_note, second_note)
    :: VIOLATES(note_is_given, missing_note)
    :: VIOLATES(pair_is_held, lost_pair)
    fi
}
