/*
 * What the files of the extension share.  A backend measures one work at a time: bench_open makes it ready, each bench_round
 * measures it once, bench_close undoes bench_open.
 */
#ifndef GODSM_BENCH_H
#define GODSM_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "postgres.h"

#include "lib/dshash.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/lwlock.h"
#include "utils/dsa.h"

typedef struct Work Work;

/* one of run, each and once is set */
struct Work
{
	double		(*run) (Work *w, int64 n);	/* does it n times; how many ns that took */
	void		(*each) (Work *w, double *ns, int64 n);	/* the ns of each */
	double		(*once) (Work *w);	/* measures in its own way */
	void		(*close) (Work *w);
	void		(*op) (Work *w, int64 n);	/* what run_op times */
	int64		n;				/* how often it is done in the next round */

	int			args[3];
	dsm_segment *seg;
	dsa_area   *area;
	dshash_table *table;
	LWLock	   *lock;
	dsm_handle *handles;		/* of segments that live meanwhile */
	dsm_segment **held;
	dsa_pointer *p;
	int			np;
	int			value;			/* bytes in the hash table's entries */
	void	   *pair;			/* what pair.c shares with the second process */
};

extern double now_ns(void);
extern double run_op(Work *w, int64 n);
extern int	bench_tranche(void);
extern uint64 bench_random(void);
extern uint32 bench_below(uint32 n);
extern void bench_reseed(uint64 seed);
extern void bench_pin(int cpu);

/* each says whether it knows that kind, and makes it ready */
extern bool open_local(Work *w, const char *kind);
extern bool open_hash(Work *w, const char *kind);
extern bool open_pair(Work *w, const char *kind, const char *pin);

extern void lock_exclusive(Work *w, int64 n);
extern void lock_shared(Work *w, int64 n);
extern void dsa_pair(Work *w, int64 n);
extern void hash_fill(Work *w, int entries, int value);
extern dshash_parameters hash_parameters(int value);
extern void hash_get(Work *w, int64 n);
extern void hash_close(Work *w);

#endif
