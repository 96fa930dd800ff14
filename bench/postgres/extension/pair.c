/*
 * pair.c - what two processes do: a background worker shares a segment with us and waits to be called.
 */
#include "bench.h"

#include <sched.h>

#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"

PGDLLEXPORT void bench_worker(Datum arg);

typedef enum
{
	ONE_WAY, ROUND_TRIP, LOCK_EXCLUSIVE, LOCK_SHARED, ALLOC_PAIR, HASH_GET
} Job;

static const char *const names[] = {
	"mq one way", "mq round trip", "two lock exclusive", "two lock shared", "two alloc pair", "two hash get"
};

#define LINE 128				/* bytes; nobody shares a cache line with a neighbour */

typedef struct
{
	Job			job;
	int			cpu;			/* of the worker */
	int			tranche;
	int			args[3];
	Size		out,
				back;			/* where the queues are */
	dsa_handle	area;
	dshash_table_handle table;
	PGPROC	   *lead;
	PGPROC	   *worker;
	int64		n;
	char		_0[LINE];
	pg_atomic_uint32 ready;
	pg_atomic_uint32 call;		/* goes up when the worker is to come */
	pg_atomic_uint32 stop;
	char		_1[LINE];
	pg_atomic_uint32 here;		/* follows call */
	char		_2[LINE];
	pg_atomic_uint32 go;		/* follows here: both begin */
	char		_3[LINE];
	pg_atomic_uint32 done;
	char		_4[LINE];
	LWLock		lock;
	char		_5[LINE];
} Shared;

typedef struct
{
	Shared	   *s;
	BackgroundWorkerHandle *worker;
	shm_mq_handle *out;
	shm_mq_handle *back;
	char	   *message;
} Pair;

static void
spin_until(pg_atomic_uint32 *a, uint32 want)
{
	for (int n = 1; pg_atomic_read_u32(a) != want; n++)
		if (n % 1024 == 0)
		{
			sched_yield();
			CHECK_FOR_INTERRUPTS();
		}
}

static void
sleep_while(pg_atomic_uint32 *a, uint32 is, pg_atomic_uint32 *stop)
{
	while (pg_atomic_read_u32(a) == is && pg_atomic_read_u32(stop) == 0)
	{
		WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, 0, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
take(shm_mq_handle *q, Size *n, void **data)
{
	if (shm_mq_receive(q, n, data, false) != SHM_MQ_SUCCESS)
		elog(ERROR, "receive: the other end is detached");
}

static void
put(shm_mq_handle *q, Size n, const void *data, bool flush)
{
	if (shm_mq_send(q, n, data, false, flush) != SHM_MQ_SUCCESS)
		elog(ERROR, "send: the other end is detached");
}

/* ---- the worker */

static void
serve_queues(Shared *s, dsm_segment *seg)
{
	shm_mq	   *q = (shm_mq *) ((char *) s + s->out),
			   *b = (shm_mq *) ((char *) s + s->back);
	shm_mq_handle *in,
			   *back;
	Size		n;
	void	   *data;

	shm_mq_set_receiver(q, MyProc);
	shm_mq_set_sender(b, MyProc);
	in = shm_mq_attach(q, seg, NULL);
	back = shm_mq_attach(b, seg, NULL);
	pg_atomic_write_u32(&s->ready, 1);
	SetLatch(&s->lead->procLatch);
	while (shm_mq_receive(in, &n, &data, false) == SHM_MQ_SUCCESS)
	{
		int64		count;

		if (s->job == ROUND_TRIP)
		{
			if (shm_mq_send(back, n, data, false, true) != SHM_MQ_SUCCESS)
				return;
			continue;
		}
		memcpy(&count, data, sizeof count);	/* the first message says how many follow */
		for (int64 i = 0; i < count; i++)
			if (shm_mq_receive(in, &n, &data, false) != SHM_MQ_SUCCESS)
				return;
		if (shm_mq_send(back, 8, "received", false, true) != SHM_MQ_SUCCESS)
			return;
	}
}

static void
serve_calls(Shared *s, Work *w)
{
	pg_atomic_write_u32(&s->ready, 1);
	SetLatch(&s->lead->procLatch);
	for (uint32 call = 1;; call++)
	{
		sleep_while(&s->call, call - 1, &s->stop);
		if (pg_atomic_read_u32(&s->stop) != 0)
			return;
		pg_atomic_write_u32(&s->here, call);
		spin_until(&s->go, call);
		w->op(w, s->n);
		pg_atomic_write_u32(&s->done, call);
	}
}

static void
set_op(Work *w, Job job)
{
	w->op = job == LOCK_EXCLUSIVE ? lock_exclusive : job == LOCK_SHARED ? lock_shared : job == ALLOC_PAIR ? dsa_pair : hash_get;
}

void
bench_worker(Datum arg)
{
	dsm_segment *seg;
	Shared	   *s;
	Work		w;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "godsm_bench worker");
	CurrentMemoryContext = AllocSetContextCreate(TopMemoryContext, "godsm_bench worker", ALLOCSET_DEFAULT_SIZES);
	seg = dsm_attach(DatumGetUInt32(arg));
	if (seg == NULL)
		elog(ERROR, "the segment has gone");
	s = dsm_segment_address(seg);
	bench_pin(s->cpu);
	s->worker = MyProc;
	LWLockRegisterTranche(s->tranche, "godsm_bench");
	bench_reseed(UINT64CONST(0x9e3779b97f4a7c15));
	memset(&w, 0, sizeof w);
	memcpy(w.args, s->args, sizeof w.args);
	set_op(&w, s->job);
	w.lock = &s->lock;
	if (s->area)
		w.area = dsa_attach(s->area);
	if (s->job == HASH_GET)
	{
		dshash_parameters p = hash_parameters(s->args[1]);

		w.np = s->args[0];
		w.value = s->args[1];
		p.tranche_id = s->tranche;
		w.table = dshash_attach(w.area, &p, s->table, NULL);
	}
	if (s->job == ONE_WAY || s->job == ROUND_TRIP)
		serve_queues(s, seg);
	else
		serve_calls(s, &w);
	if (w.table)
		dshash_detach(w.table);
	if (w.area)
		dsa_detach(w.area);
	dsm_detach(seg);
}

/* ---- the lead */

static double
run_one_way(Work *w, int64 n)
{
	Pair	   *p = w->pair;
	Size		len;
	void	   *data;
	double		begin = now_ns();

	put(p->out, sizeof n, &n, false);
	for (int64 i = 0; i < n; i++)
		put(p->out, w->args[0], p->message, i == n - 1);
	take(p->back, &len, &data);
	return now_ns() - begin;
}

static void
each_round_trip(Work *w, double *ns, int64 n)
{
	Pair	   *p = w->pair;
	Size		len = 0;
	void	   *data = NULL;
	double		last = now_ns();

	for (int64 i = 0; i < n; i++)
	{
		double		now;

		put(p->out, w->args[0], p->message, true);
		take(p->back, &len, &data);
		now = now_ns();
		ns[i] = now - last;
		last = now;
	}
	if (len != w->args[0] || memcmp(data, p->message, len) != 0)
		elog(ERROR, "the echo is another message");
}

/* both begin at the same moment; until both are done */
static double
run_together(Work *w, int64 n)
{
	Shared	   *s = ((Pair *) w->pair)->s;
	uint32		call = pg_atomic_read_u32(&s->call) + 1;
	double		begin;

	s->n = n;
	pg_write_barrier();
	pg_atomic_write_u32(&s->call, call);
	SetLatch(&s->worker->procLatch);
	spin_until(&s->here, call);
	begin = now_ns();
	pg_atomic_write_u32(&s->go, call);
	w->op(w, n);
	spin_until(&s->done, call);
	return now_ns() - begin;
}

/* also when this backend ends in disorder */
static void
stop_worker(dsm_segment *seg, Datum arg)
{
	Shared	   *s = (Shared *) DatumGetPointer(arg);

	pg_atomic_write_u32(&s->stop, 1);
	if (s->worker)
		SetLatch(&s->worker->procLatch);
}

static void
close_pair(Work *w)
{
	Pair	   *p = w->pair;

	dsm_detach(w->seg);
	WaitForBackgroundWorkerShutdown(p->worker);
	if (w->table)
		hash_close(w);
	else if (w->area)
		dsa_detach(w->area);
}

/* only until the worker has come; its end is left out */
static double
run_start_worker(Work *w, int64 n)
{
	double		sum = 0;

	for (int64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		Work		one;
		double		begin = now_ns();

		memset(&one, 0, sizeof one);
		open_pair(&one, "two lock shared", "");
		sum += now_ns() - begin;
		close_pair(&one);
		MemoryContextSwitchTo(old);
	}
	return sum;
}

static void
launch(Pair *p, dsm_segment *seg)
{
	BackgroundWorker b;

	memset(&b, 0, sizeof b);
	b.bgw_flags = BGWORKER_SHMEM_ACCESS;
	b.bgw_start_time = BgWorkerStart_ConsistentState;
	b.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(b.bgw_library_name, "godsm_bench", BGW_MAXLEN);
	strlcpy(b.bgw_function_name, "bench_worker", BGW_MAXLEN);
	strlcpy(b.bgw_name, "godsm_bench worker", BGW_MAXLEN);
	strlcpy(b.bgw_type, "godsm_bench", BGW_MAXLEN);
	b.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(seg));
	b.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&b, &p->worker))
		elog(ERROR, "no background worker is left");
	while (pg_atomic_read_u32(&p->s->ready) == 0)
	{
		pid_t		pid;

		if (GetBackgroundWorkerPid(p->worker, &pid) == BGWH_STOPPED && pg_atomic_read_u32(&p->s->ready) == 0)
			elog(ERROR, "the background worker has ended");
		WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, 0, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

bool
open_pair(Work *w, const char *kind, const char *pin)	/* queues: message, ring; others as when alone */
{
	int			job;
	bool		queues;
	Size		ring;
	Shared	   *s;
	Pair	   *p;

	if (strcmp(kind, "start worker") == 0)
	{
		w->run = run_start_worker;
		return true;
	}
	for (job = 0; job < lengthof(names) && strcmp(kind, names[job]) != 0; job++)
		;
	if (job == lengthof(names))
		return false;
	queues = job == ONE_WAY || job == ROUND_TRIP;
	ring = queues ? MAXALIGN(w->args[1]) : 0;
	w->seg = dsm_create(MAXALIGN(sizeof(Shared)) + 2 * ring, 0);
	dsm_pin_mapping(w->seg);
	s = dsm_segment_address(w->seg);
	memset(s, 0, sizeof *s);
	w->pair = p = palloc0(sizeof *p);
	p->s = s;
	s->job = job;
	s->cpu = strcmp(pin, "same") == 0 ? 0 : strcmp(pin, "diff") == 0 ? 1 : -1;
	s->tranche = bench_tranche();
	memcpy(s->args, w->args, sizeof s->args);
	s->lead = MyProc;
	LWLockInitialize(&s->lock, s->tranche);
	set_op(w, job);
	w->lock = &s->lock;
	w->run = queues ? run_one_way : run_together;
	w->each = job == ROUND_TRIP ? each_round_trip : NULL;
	w->close = close_pair;
	if (job == HASH_GET)
	{
		hash_fill(w, w->args[0], w->args[1]);
		s->table = dshash_get_hash_table_handle(w->table);
	}
	else if (job == ALLOC_PAIR)
	{
		w->area = dsa_create(s->tranche);
		dsa_pin_mapping(w->area);
	}
	if (w->area)
		s->area = dsa_get_handle(w->area);
	on_dsm_detach(w->seg, stop_worker, PointerGetDatum(s));
	if (queues)
	{
		shm_mq	   *out,
				   *back;

		s->out = MAXALIGN(sizeof(Shared));
		s->back = s->out + ring;
		out = shm_mq_create((char *) s + s->out, ring);
		back = shm_mq_create((char *) s + s->back, ring);
		shm_mq_set_sender(out, MyProc);
		shm_mq_set_receiver(back, MyProc);
		p->message = palloc(w->args[0]);
		memset(p->message, 'm', w->args[0]);
		p->out = shm_mq_attach(out, w->seg, NULL);
		p->back = shm_mq_attach(back, w->seg, NULL);
	}
	launch(p, w->seg);
	return true;
}
