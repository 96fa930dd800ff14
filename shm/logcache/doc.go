// Package logcache is a cache of byte strings for all processes that have one region of shared memory: exact in bytes,
// and such that no death of a process can hang or spoil it.
//
// It adds to shm a structure that needs no allocator. The region is the cache: its size is the limit, with the index and
// all books included, and there is nothing that could run out later. A region of ordinary memory will do, too.
//
//	c, err := logcache.Create(region, self, logcache.Options{})
//	err = c.Set(ctx, key, value, 0)
//	value, found, err := c.Get(key, buf[:0]) // a copy; takes no lock and waits for no one
//	found, err = c.Delete(ctx, key)
//
// What it does not promise: that an entry stays. An entry goes by Delete, by a Set of its key, when it expires, or
// when its room is needed; Stats counts the causes. Several entries are not changed together. A process that is
// stopped while it holds the lock of a shard makes the Sets and Deletes of that shard wait until their contexts end;
// Gets go on, and so do the other shards.
//
// # Shards, lines, extents
//
// The cache is cut into shards by hash. A shard has a lock, an index, and a fixed number of extents, each of which is
// free, in one of two logs (the window and the main log), or has lines by which the index has grown. Set appends a
// record to a log and stores one word of the index, a slot; that makes it the key's. Room is made by walking the
// oldest extent of a log: the policy of internal/eviction moves an entry to the head of a log or drops it, and an
// extent that is walked is free. So there are no size classes and no holes, and records of any sizes can follow each
// other.
//
// The truth is one word each: the slot about an entry, the row's state about an extent, with the row's number, which
// orders a log, and used, the end of its last whole record. All else is derived from these words and made anew by a
// repair.
//
// # Lookups without a lock
//
// Each extent has a life, a number that goes up before the extent is free and so before its bytes change. A slot has the
// life's low 17 bits. Get reads the slot, compares the life, compares the key, copies the value, and looks whether the
// whole life is what it was. A record never changes within a life. So what Get returns was the key's value at a moment
// of the call. A key is in one of two lines; while it is put from one to the other, or its line is split, the word
// reach changes, and a Get that has found nothing looks again.
//
// # What a death leaves
//
// The next holder of the shard's lock repairs the shard: it makes lists and counts anew from the rows, finishes the last
// split, and clears slots that lead nowhere. Readers need no repair.
//
//	who dies                                   leaves                                  and the next holder
//	in Get                                     a hit that is not counted               -
//	in Set, the record written, used not       bytes behind the end                    writes over them
//	  stored
//	used stored, the slot not                  a record that no slot names             passes it when it walks the extent
//	the slot stored                            the entry; the old record is dead       -
//	taking an extent, state not stored         a free extent                           -
//	state stored, the list not                 an extent that is in no list            lists it by its number
//	walking, a record copied, its slot not     a record that no slot names             walks the extent again from its start
//	walking, a slot swung or cleared           an extent with fewer entries            walks it again: what was moved is dead
//	the life gone up, the extent not free      an extent in a log without entries      walks it again
//	free, but in the list                      a list that begins with a free extent   makes the list anew
//	splitting a line, reach not stored         copies in a line that is not used yet   writes the line again when it splits
//	reach stored, the old line not cleared     slots that are in both lines            clears those in the old one
//	taking an extent for lines                 an extent that no chunk names           names it by its number
//	putting an entry into its other line       the entry in both                       clears the old slot, which is noted
//	deleting, before the slot is cleared       the entry                               -
//	setting a value in pieces                  pieces without a head                   nothing: they are evicted
//	replacing or deleting one                  the same                                the same
//	repairing                                  a shard marked as dirty                 repairs: each step is harmless twice
//	claiming a load, the row not stored        a row with another hash                 nothing: it is free
//	loading                                    a row with a dead session               claims it, as soon as someone wants the key
//	a fill stored, its row not free            the entry, and such a row               the same
//	purging                                    some extents that are free              finishes that shard's lists
//	an extent away, its memory not given back  memory that is not used                 Resize to the whole, and again
//	its memory asked back, the row not free    the same                                the same
//	in Create                                  a region without a cache                nothing: Attach is ErrNotFound
//
// No step can lack memory. If there is no free extent for a survivor of a walk, it is dropped; if there is none for a
// Set, the oldest extent is emptied without looking at hits. So a shard whose writers die again and again in the
// middle of a walk loses entries, but goes on.
//
// # Bytes that others have written over
//
// Every word is loaded once and checked. A slot that leads nowhere is an empty one. A record bears a checksum of
// itself and of its place; it is compared when the record is moved and, if Options.Checked is set, by each Get. A
// garbled row, list or count has the shard repaired; what is lost is counted in Stats, and what is wrong is listed by
// Verify. A region whose object is truncated is ErrCorrupt.
//
// The lock of a shard is the only lock a call holds; no call holds two.
package logcache
