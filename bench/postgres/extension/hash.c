/*
 * hash.c - dshash, alone: keys of 8 bytes, values of any size.
 */
#include "bench.h"

#define ENTRY(value) (sizeof(uint64) + (value))
#define VALUE(entry) ((char *) (entry) + sizeof(uint64))

dshash_parameters
hash_parameters(int value)
{
	dshash_parameters p;

	memset(&p, 0, sizeof p);
	p.key_size = sizeof(uint64);
	p.entry_size = ENTRY(value);
	p.compare_function = dshash_memcmp;
	p.hash_function = dshash_memhash;
#if PG_VERSION_NUM >= 170000
	p.copy_function = dshash_memcpy;
#endif
	p.tranche_id = bench_tranche();
	return p;
}

static void
insert(Work *w, uint64 key)
{
	bool		found;
	void	   *e = dshash_find_or_insert(w->table, &key, &found);

	memset(VALUE(e), 'v', w->value);
	dshash_release_lock(w->table, e);
}

/* a table of keys 0 to entries - 1 */
void
hash_fill(Work *w, int entries, int value)
{
	dshash_parameters p = hash_parameters(value);

	w->np = entries;
	w->value = value;
	w->area = dsa_create(bench_tranche());
	dsa_pin_mapping(w->area);
	w->table = dshash_create(w->area, &p, NULL);
	for (int i = 0; i < entries; i++)
		insert(w, i);
}

/* finds a random key and copies its value out */
void
hash_get(Work *w, int64 n)
{
	char		out[1024];

	for (int64 i = 0; i < n; i++)
	{
		uint64		key = bench_below(w->np);
		void	   *e = dshash_find(w->table, &key, false);

		if (e == NULL)
			elog(ERROR, "key " UINT64_FORMAT " is missing", key);
		memcpy(out, VALUE(e), w->value);
		dshash_release_lock(w->table, e);
	}
}

/* deletes a random key and inserts it again */
static void
hash_delete_insert(Work *w, int64 n)
{
	for (int64 i = 0; i < n; i++)
	{
		uint64		key = bench_below(w->np);

		if (!dshash_delete_key(w->table, &key))
			elog(ERROR, "key " UINT64_FORMAT " is missing", key);
		insert(w, key);
	}
}

void
hash_close(Work *w)
{
	dshash_destroy(w->table);
	dsa_detach(w->area);
}

bool
open_hash(Work *w, const char *kind)	/* entries, bytes of a value */
{
	if (strcmp(kind, "hash get") == 0)
		w->op = hash_get;
	else if (strcmp(kind, "hash delete+insert") == 0)
		w->op = hash_delete_insert;
	else
		return false;
	Assert(w->args[1] <= 1024);
	hash_fill(w, w->args[0], w->args[1]);
	w->close = hash_close;
	return true;
}
