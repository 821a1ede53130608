/* A few threads that share out the items of a job; the caller is one of them.
 *
 * Items are claimed one by one, so a thread the system holds back costs its share of the work and no waiting: the
 * others take what it does not claim. Which thread does an item must not matter to the result. Where threads gain
 * nothing, because others keep the processors busy, the caller does most steps alone.
 */
#ifndef SP_TEAM_H
#define SP_TEAM_H

typedef struct sp_team sp_team;

/* n_threads in all, the caller's included. NULL if the system gives no memory or no threads. */
sp_team *sp_team_new(int n_threads);
void sp_team_free(sp_team *team);

/* work(context, item, worker) for every item 0..n_items-1; returns when all are done. worker is below n_threads and
   differs between items under way at one time. A NULL team does the work alone. */
void sp_team_run(sp_team *team, void (*work)(void *context, int item, int worker), void *context, int n_items);

/* Before each of a run of like steps, which may have several jobs, and before the first of a run. */
void sp_team_step(sp_team *team);
void sp_team_begin(sp_team *team);

#endif
