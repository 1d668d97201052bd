/* The stages of a delivery in which its agent is asked and may call tools. */
#ifndef DELIVERY_CONVERSE_H
#define DELIVERY_CONVERSE_H

#include "delivery/attempt.h"

/* Both run on the worker, and block for the gateway, the backend and the disk. */

/* Asks the agent, with the context that the known stage has read, or sends the results of calls. */
enum entry_stage stage_sending(struct attempt *attempt);

/* Carries out the calls that the agent has made. */
enum entry_stage stage_acting(struct attempt *attempt);

/*
 * What was about to be sent certainly was not: takes back what was noted of it. Returns the stage
 * at which it is sent later. Blocks for the disk.
 */
enum entry_stage converse_withdraw(struct attempt *attempt);

/*
 * Makes sure that it is known whether the gateway takes tools. It is asked once whenever it may
 * have been exchanged, by each worker that finds that nobody has asked yet, and before the queue
 * allows the send, as it blocks for up to 2 s.
 */
void converse_ask_for_tools(const struct attempt *attempt);

/*
 * Makes from the context what is sent to the agent, and frees most of the context, which is several
 * times as large. False without memory.
 */
bool converse_prepare(struct attempt *attempt);

/* Frees what was kept for further requests of the run. */
void converse_fini(struct attempt *attempt);

#endif
