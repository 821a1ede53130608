/* A team of threads. See team.h.
 *
 * remaining   items not claimed yet; whoever lowers it owns the item, and may read the job: its fields change only
 *             after unfinished has come down to zero.
 * unfinished  items not done yet; the caller waits for it.
 *
 * Where other programs keep the processors busy, threads that wait for each other are slower than one. So from time to
 * time some steps are done the other way, alone or together, and the faster way goes on; no bit depends on it.
 */
#include "team.h"

#include "packed.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    SPINS = 4000, /* some 50 us: longer than the serial part of a step, shorter than a time slice */
    WINDOW = 32,  /* steps that are timed together */
    LEAST = 8,    /* windows until the other way is tried again, doubled whenever it is not the faster one */
    MOST = 512,
};

/* Which way is the faster one. */
typedef struct {
    bool alone, trial;
    int steps, windows, interval;
    int64_t begin;
    double cost[2]; /* nanoseconds of a window together and alone */
} choice;

typedef struct {
    sp_team *team;
    int number;
    pthread_t thread;
} worker;

struct sp_team {
    void (*work)(void *, int, int);
    void *context;
    int n_items;
    atomic_int remaining, unfinished, sleeping;
    atomic_bool stop;
    choice choice;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pid_t process;
    int n_workers; /* beside the caller */
    worker workers[];
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_items(sp_team *team, int number)
{
    int left = atomic_load_explicit(&team->remaining, memory_order_relaxed);
    while (left > 0)
        if (atomic_compare_exchange_weak_explicit(&team->remaining, &left, left - 1, memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            team->work(team->context, team->n_items - left, number);
            atomic_fetch_sub_explicit(&team->unfinished, 1, memory_order_release);
            left = atomic_load_explicit(&team->remaining, memory_order_relaxed);
        }
}

static void sleep_until_work(sp_team *team)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&team->remaining, memory_order_relaxed) > 0 || atomic_load(&team->stop))
            return;
        pause_briefly();
    }
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleeping, 1); /* in one order with remaining: see sp_team_run */
    while (atomic_load(&team->remaining) == 0 && !atomic_load(&team->stop))
        pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->sleeping, 1);
    pthread_mutex_unlock(&team->mutex);
}

static void *live(void *argument)
{
    const worker *self = argument;
    sp_flush_subnormals();
    while (!atomic_load(&self->team->stop)) {
        take_items(self->team, self->number);
        sleep_until_work(self->team);
    }
    return NULL;
}

static void wake_all(sp_team *team)
{
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
}

sp_team *sp_team_new(int n_threads)
{
    sp_team *team = calloc(1, sizeof *team + (size_t)n_threads * sizeof *team->workers);
    if (!team)
        return NULL;
    team->process = getpid();
    team->choice.interval = team->choice.windows = LEAST;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's own threads */
    for (int i = 0; i < n_threads - 1; i++) {
        worker *w = &team->workers[i];
        *w = (worker){.team = team, .number = i + 1};
        if (pthread_create(&w->thread, NULL, live, w))
            break;
        team->n_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (team->n_workers == n_threads - 1)
        return team;
    sp_team_free(team);
    return NULL;
}

void sp_team_free(sp_team *team)
{
    if (!team)
        return;
    if (team->process == getpid()) { /* a forked child has no workers, and mutexes in any state */
        atomic_store(&team->stop, true);
        wake_all(team);
        for (int i = 0; i < team->n_workers; i++)
            pthread_join(team->workers[i].thread, NULL);
        pthread_cond_destroy(&team->wake);
        pthread_mutex_destroy(&team->mutex);
    }
    free(team);
}

void sp_team_begin(sp_team *team)
{
    if (team)
        team->choice.steps = 0;
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* After a window: its cost, and which way the next one goes. */
static void choose(choice *way, double cost)
{
    double *known = &way->cost[way->alone];
    *known = way->trial || *known == 0 ? cost : 0.75 * *known + 0.25 * cost;
    if (way->trial) {
        const bool faster = way->cost[way->alone] < 0.95 * way->cost[!way->alone];
        way->trial = false;
        if (!faster)
            way->alone = !way->alone;
        way->interval = faster ? LEAST : way->interval < MOST ? 2 * way->interval : MOST;
        way->windows = way->interval;
    } else if (--way->windows <= 0) {
        way->trial = true;
        way->alone = !way->alone;
    }
}

void sp_team_step(sp_team *team)
{
    if (!team || team->choice.steps++ % WINDOW)
        return;
    const int64_t now = nanoseconds();
    if (team->choice.steps > 1)
        choose(&team->choice, (double)(now - team->choice.begin));
    team->choice.begin = now;
}

void sp_team_run(sp_team *team, void (*work)(void *context, int item, int worker), void *context, int n_items)
{
    if (!team || n_items == 1 || team->choice.alone) {
        for (int item = 0; item < n_items; item++)
            work(context, item, 0);
        return;
    }
    team->work = work;
    team->context = context;
    team->n_items = n_items;
    atomic_store_explicit(&team->unfinished, n_items, memory_order_relaxed);
    atomic_store(&team->remaining, n_items);
    /* A worker counts itself as sleeping before it looks at remaining for the last time; here it is the other way
       round: one of the two sees the other. */
    if (atomic_load(&team->sleeping) > 0 && team->process == getpid())
        wake_all(team);
    take_items(team, 0);
    for (int spin = 0; atomic_load_explicit(&team->unfinished, memory_order_acquire) > 0; spin++)
        if (spin < SPINS)
            pause_briefly();
        else
            sched_yield(); /* the worker that holds the last item may need this processor */
}
