/*
 * core.c - the SQL functions, and how often a work is done in a round.
 */
#include "bench.h"

#include <math.h>
#include <sched.h>
#include <time.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

static Work *work;
static double target;			/* ns */
static uint64 state = UINT64CONST(88172645463325252);

double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

double
run_op(Work *w, int64 n)
{
	double		begin = now_ns();

	w->op(w, n);
	return now_ns() - begin;
}

int
bench_tranche(void)
{
	static int	tranche = 0;

	if (tranche == 0)
	{
		tranche = LWLockNewTrancheId();
		LWLockRegisterTranche(tranche, "godsm_bench");
	}
	return tranche;
}

/* xorshift64: the Go and C++ sides draw the same numbers */
uint64
bench_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

uint32
bench_below(uint32 n)
{
	return (uint32) (((bench_random() >> 32) * (uint64) n) >> 32);
}

void
bench_reseed(uint64 seed)
{
	state = seed;
}

void
bench_pin(int cpu)
{
	cpu_set_t	set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		elog(ERROR, "pinning to CPU %d: %m", cpu);
}

PG_FUNCTION_INFO_V1(bench_open);
Datum
bench_open(PG_FUNCTION_ARGS)	/* kind text, a int, b int, c int, pin text, target_ns float8 */
{
	const char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *pin = text_to_cstring(PG_GETARG_TEXT_PP(4));
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Work	   *w = palloc0(sizeof(Work));

	for (int i = 0; i < 3; i++)
		w->args[i] = PG_GETARG_INT32(1 + i);
	target = PG_GETARG_FLOAT8(5);
	w->run = run_op;
	if (!open_local(w, kind) && !open_hash(w, kind) && !open_pair(w, kind, pin))
		elog(ERROR, "no work is called %s", kind);
	MemoryContextSwitchTo(old);
	if (strcmp(pin, "same") == 0 || strcmp(pin, "diff") == 0)
		bench_pin(0);
	work = w;
	PG_RETURN_VOID();
}

/*
 * One round, which takes about as long as it should: a try that is over too soon does not count, and is made again with more.  As the Go side
 * does it (pace in work.go).  The ns of each, if that is asked for, are in *ns.
 */
static double
run(Work *w, double **ns, int64 *done)
{
	bool		warm = w->n > 0;

	w->n = Max(w->n, w->each ? 100 : 1);
	for (;;)
	{
		double		begin,
					took;

		CHECK_FOR_INTERRUPTS();
		*done = w->n;
		if (w->each)
		{
			*ns = palloc(sizeof(double) * w->n);
			begin = now_ns();
			w->each(w, *ns, w->n);
			took = now_ns() - begin;
		}
		else
			took = w->run(w, w->n);
		if (warm && (took < target / 2 || took > target * 2))
			w->n = Max(w->each ? 100 : 1, (int64) ceil(w->n * Min(8, target / (took + 1))));
		if (warm && took >= target / 2)
			return took;
		warm = true;
	}
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* the q-quantile of sorted numbers, between neighbours in proportion */
static double
quantile(const double *x, int64 n, double q)
{
	double		at = q * (n - 1);
	int64		low = (int64) at;

	return low + 1 == n ? x[low] : x[low] + (at - low) * (x[low + 1] - x[low]);
}

PG_FUNCTION_INFO_V1(bench_round);
Datum
bench_round(PG_FUNCTION_ARGS)
{
	Work	   *w = work;
	Datum		d[2];
	int			numbers = 1;

	if (w == NULL)
		elog(ERROR, "nothing is open");
	if (w->once)
		d[0] = Float8GetDatum(w->once(w));
	else
	{
		double	   *ns = NULL;
		int64		n;
		double		took = run(w, &ns, &n);

		d[0] = Float8GetDatum(took / n);
		if (w->each)
		{
			qsort(ns, n, sizeof(double), compare);
			d[0] = Float8GetDatum(quantile(ns, n, 0.5));
			d[1] = Float8GetDatum(quantile(ns, n, 0.99));
			numbers = 2;
		}
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(d, numbers, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

PG_FUNCTION_INFO_V1(bench_close);
Datum
bench_close(PG_FUNCTION_ARGS)
{
	Work	   *w = work;

	work = NULL;
	if (w && w->close)
		w->close(w);
	PG_RETURN_VOID();
}
