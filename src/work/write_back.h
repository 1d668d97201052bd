/* The stages past the send, each a call to the backend, for which it blocks. */
#ifndef WORK_WRITE_BACK_H
#define WORK_WRITE_BACK_H

#include "attempt.h"

/* Of STAGE_REPLIED: writes the agent's reply into the thread, unless there is nothing to write. */
struct finish write_back_reply(struct attempt *attempt);

/* Of STAGE_GIVING_UP: writes into the thread, in our words, why there will be no reply. */
struct finish write_back_note(struct attempt *attempt);

/* Of STAGE_WRITTEN: marks the notification as delivered, so that it leaves the backend's list. */
struct finish write_back_mark(struct attempt *attempt);

#endif
