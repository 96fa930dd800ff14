/*
 * local.c - what one process does alone: dsm, dsa, LWLock.
 */
#include "bench.h"

#include <dirent.h>
#include <sys/stat.h>

#include "storage/fd.h"

/* ---- dsm */

static void
create_op(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i++)
		dsm_detach(dsm_create(w->args[0], 0));
}

static void
attach_op(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i++)
		dsm_detach(dsm_attach(w->handles[w->np / 2]));
}

/* so many segments that nobody has attached */
static void
make_live(Work *w, int size, int count)
{
	w->np = count;
	w->handles = palloc(sizeof(dsm_handle) * count);
	for (int i = 0; i < count; i++)
	{
		dsm_segment *seg = dsm_create(size, 0);

		dsm_pin_segment(seg);
		w->handles[i] = dsm_segment_handle(seg);
		dsm_detach(seg);
	}
}

static void
close_live(Work *w)
{
	for (int i = 0; i < w->np; i++)
		dsm_unpin_segment(w->handles[i]);
}

static void
close_held(Work *w)
{
	for (int i = 0; i < w->np; i++)
		dsm_detach(w->held[i]);
}

/* ---- dsa */

void
dsa_pair(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i++)
		dsa_free(w->area, dsa_allocate(w->area, w->args[0]));
}

/* all allocated, then all freed; n counts objects */
static void
dsa_batch(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i += w->np)
	{
		int			k = (int) Min(w->np, n - i);

		for (int j = 0; j < k; j++)
			w->p[j] = dsa_allocate(w->area, w->args[0]);
		for (int j = 0; j < k; j++)
			dsa_free(w->area, w->p[j]);
	}
}

/* 16 to 8191 bytes, each power of two as likely as another */
static int
mixed_size(void)
{
	uint64		r = bench_random();
	int			e = 4 + (int) ((r >> 40) % 9);

	return (1 << e) + (int) (r & ((1 << e) - 1));
}

static void
dsa_mixed(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i++)
	{
		uint32		k = bench_below(w->np);

		dsa_free(w->area, w->p[k]);
		w->p[k] = dsa_allocate(w->area, mixed_size());
	}
}

/* the bytes of all segments that PostgreSQL has on the shm mount: before version 17 an area does not say its size */
static double
bytes_on_mount(void)
{
	DIR		   *d = AllocateDir("/dev/shm");
	struct dirent *e;
	double		sum = 0;

	while ((e = ReadDir(d, "/dev/shm")) != NULL)
	{
		char		path[MAXPGPATH];
		struct stat st;

		snprintf(path, sizeof path, "/dev/shm/%s", e->d_name);
		if (strncmp(e->d_name, "PostgreSQL.", 11) == 0 && stat(path, &st) == 0)
			sum += st.st_size;
	}
	FreeDir(d);
	return sum;
}

/* how many percent more the area takes than was asked for */
static double
dsa_overhead(Work *w)
{
	double		before = bytes_on_mount(),
				total;
	dsa_area   *area = dsa_create(bench_tranche());
	int64		asked = 0;

	bench_reseed(UINT64CONST(88172645463325252));
	while (asked < (int64) w->args[0] << 20)
	{
		int			n = mixed_size();

		asked += n;
		dsa_allocate(area, n);
	}
	total = bytes_on_mount() - before;
	dsa_detach(area);
	return 100 * (total - asked) / asked;
}

static void
close_area(Work *w)
{
	dsa_detach(w->area);
}

/* ---- LWLock */

void
lock_exclusive(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i++)
	{
		LWLockAcquire(w->lock, LW_EXCLUSIVE);
		LWLockRelease(w->lock);
	}
}

void
lock_shared(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i++)
	{
		LWLockAcquire(w->lock, LW_SHARED);
		LWLockRelease(w->lock);
	}
}

static void
close_segment(Work *w)
{
	dsm_detach(w->seg);
}

bool
open_local(Work *w, const char *kind)
{
	bool		exclusive = strcmp(kind, "lock exclusive") == 0;

	if (strcmp(kind, "create") == 0)	/* size */
		w->op = create_op;
	else if (strcmp(kind, "attach") == 0)	/* size */
	{
		make_live(w, w->args[0], 1);
		w->op = attach_op;
		w->close = close_live;
	}
	else if (strcmp(kind, "create live") == 0 || strcmp(kind, "attach live") == 0)	/* size, live */
	{
		make_live(w, w->args[0], w->args[1]);
		w->op = kind[0] == 'c' ? create_op : attach_op;
		w->close = close_live;
	}
	else if (strcmp(kind, "create held") == 0)	/* size, held: attached all the while */
	{
		w->np = w->args[1];
		w->held = palloc(sizeof(dsm_segment *) * Max(w->np, 1));
		for (int i = 0; i < w->np; i++)
		{
			w->held[i] = dsm_create(w->args[0], 0);
			dsm_pin_mapping(w->held[i]);
		}
		w->op = create_op;
		w->close = close_held;
	}
	else if (strcmp(kind, "alloc pair") == 0 || strcmp(kind, "alloc batch") == 0 || strcmp(kind, "alloc mixed") == 0)	/* size */
	{
		w->area = dsa_create(bench_tranche());
		dsa_pin_mapping(w->area);
		w->close = close_area;
		w->op = dsa_pair;
		if (kind[6] == 'p')
			return true;
		w->np = kind[6] == 'b' ? 1000 : 10000;
		w->p = palloc0(sizeof(dsa_pointer) * w->np);
		w->op = dsa_batch;
		if (kind[6] == 'm')
		{
			for (int i = 0; i < w->np; i++)
				w->p[i] = dsa_allocate(w->area, mixed_size());
			w->op = dsa_mixed;
			dsa_mixed(w, 5 * w->np);	/* a steady state */
		}
	}
	else if (strcmp(kind, "alloc overhead") == 0)	/* MiB */
		w->once = dsa_overhead;
	else if (exclusive || strcmp(kind, "lock shared") == 0)
	{
		w->seg = dsm_create(sizeof(LWLockPadded), 0);
		dsm_pin_mapping(w->seg);
		w->lock = dsm_segment_address(w->seg);
		LWLockInitialize(w->lock, bench_tranche());
		w->op = exclusive ? lock_exclusive : lock_shared;
		w->close = close_segment;
	}
	else
		return false;
	return true;
}
