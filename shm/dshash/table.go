package dshash

import (
	"context"
	"io"
	"iter"

	"github.com/godsm/godsm/shm/dsa"
)

// Table, whose keys and values have types of fixed size. Its methods turn keys and values into bytes and leave the
// rest to core; bytes.go has the same for byte strings.

// Table is a hash table of K and V, as one session sees it: all goroutines of a session share one. Its methods are
// safe for concurrent use. A goroutine that holds an entry and asks for another one of the table may wait for itself,
// until its context ends.
//
// A context bounds the wait for a partition, and for the area's lock where a partition is repaired. It does not bound
// the wait for that lock where memory is allocated or freed, mostly when a partition grows: while another session is
// stopped with the area's lock, that wait ends after 10 s, with an error.
//
// A table ends with its area's View: from then on each call returns ErrClosed, and an entry that is still held
// changes nothing any more. If the session goes on, Release gives its lock back nevertheless, and the area's bytes
// stay mapped until then.
//
// A segment that another program truncates is ErrCorrupt. Entries that are held when that happens are not safe: loads
// and stores in an entry's Value fault, and so does Release of an entry that is held shared, which spends no time on
// catching faults. Inside Session.Contain of package dsm the fault is its error, and the entries that its goroutine
// holds are given back; their partitions are repaired.
//
// The zero Table is one that has ended. PostgreSQL's namesake is dshash_table.
type Table[K comparable, V any] struct{ t *core }

// Create makes an empty table. Other processes attach it by its Handle. It takes an object of 384 bytes for each
// partition, and nothing more until there are entries. It may wait for the area's locks, 10 s at most.
//
// K and V may be what shm.Check lets lie in shared memory. Keys are compared by their bytes: so K has no floats, no
// padding and no blank fields. V may have no size: then the table is a set. A type that can't be used is an error
// which names the field and says what to do. A number of partitions that is no power of two up to 65536 is ErrSize.
//
// If the process dies inside Create, the table's object is lost until the area ends; CreateInto avoids that.
func Create[K comparable, V any](a *dsa.Area, o Options) (*Table[K, V], error) {
	return CreateInto[K, V](a, dsa.Place{}, o)
}

// CreateInto makes an empty table as Create does, in a word that reads 0 and owns the table from its first moment, so
// that no death loses it. If its creator dies, the word may lead to a table that Attach does not know:
// dsa.Area.FreeFrom frees that. The program that destroys the table clears the word afterwards.
func CreateInto[K comparable, V any](a *dsa.Area, at dsa.Place, o Options) (*Table[K, V], error) {
	s, err := shapeOf[K, V]()
	if err != nil {
		return nil, err
	}
	return wrap[Table[K, V]](create(a, s, o, at))
}

// Attach finds the table with that handle, which must have the same K, V and Options.Version; otherwise it is
// ErrMismatch. Types are the same if their sizes, kinds, and the names and offsets of their fields are. A table that
// was destroyed is dsa.ErrPointer or ErrNotFound, an object that is no table is ErrCorrupt, and a table of another
// layout version is ErrVersion. It may attach a segment of the area, and takes no lock of the table. It may be called
// any number of times; there is nothing to detach.
func Attach[K comparable, V any](a *dsa.Area, handle dsa.Pointer, o Options) (*Table[K, V], error) {
	s, err := shapeOf[K, V]()
	if err != nil {
		return nil, err
	}
	return wrap[Table[K, V]](attach(a, handle, s, o))
}

// wrap returns a Table or a Bytes of t, or err.
func wrap[T ~struct{ t *core }](t *core, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return &T{t}, nil
}

// core returns what the methods work on.
func (t *Table[K, V]) core() *core { return orEnded(t.t) }

// orEnded returns t or, for the zero Table, a table that has ended.
func orEnded(t *core) *core {
	if t == nil {
		return unmade
	}
	return t
}

// Handle returns the name of the table for Attach, in every process that has the area. It is valid until Destroy.
func (t *Table[K, V]) Handle() dsa.Pointer { return t.core().handle }

// Get returns a copy of the key's value, and whether there is one. It takes no lock, and returns a value that the key
// had at some moment of the call: it sees a change from the moment at which Set, Delete or Release makes it. Only if
// the partition is changed during each of several tries, or the entry's memory is not mapped here yet, does it wait
// for the partition's lock, as Find does.
func (t *Table[K, V]) Get(ctx context.Context, key K) (value V, found bool, err error) {
	if lockless && t.core().word {
		if found, ok := t.core().readWordOptimistic(bytesOf(&key), bytesOf(&value)); ok {
			return value, found, nil
		}
	}
	// Field by field: a literal is made elsewhere and copied, which costs a sixth of all.
	var q lookup
	q.key, q.value = bytesOf(&key), bytesOf(&value)
	if _, err = t.core().get(ctx, &q); !q.found {
		var none V
		return none, false, err
	}
	return value, true, nil
}

// Set makes value the key's, whether it has one or not. It waits for the partition until ctx is over; the comment of
// Table says what ctx does not bound. If it fails nothing has changed: because there is no memory (the area's limit,
// no space), or because ctx ended while another session held the partition. A key that has a value gets another one
// even if there is no memory.
func (t *Table[K, V]) Set(ctx context.Context, key K, value V) error {
	return t.core().set(ctx, bytesOf(&key), bytesOf(&value))
}

// Update calls f with a copy of the key's value, and makes what f leaves there the key's, at once. If the key has no
// value, existed is false and *v is zero; the entry is made when f has returned. If f returns an error, Update returns
// that and nothing has changed: a key that had no value still has none. So it is if f panics or ends its goroutine, or
// if the process dies in f.
//
// The key's partition is locked while f runs, and other sessions wait for it, except for Get: f must be short, and must
// not use the table. Where there is no memory Update fails as Set does. If the area ends while f runs the error is
// ErrClosed.
func (t *Table[K, V]) Update(ctx context.Context, key K, f func(v *V, existed bool) error) error {
	if f == nil {
		return errNoFunction
	}
	var v V
	return t.core().update(ctx, bytesOf(&key), bytesOf(&v), func(_ []byte, existed bool) ([]byte, error) {
		err := f(&v, existed)
		return bytesOf(&v), err
	})
}

// Delete takes the key's entry out, and reports whether there was one. It needs no memory. It waits for the partition
// until ctx is over.
func (t *Table[K, V]) Delete(ctx context.Context, key K) (found bool, err error) {
	return t.core().remove(ctx, bytesOf(&key))
}

// Find holds the key's entry shared, and reports whether there is one: no session changes it, or any other entry of
// its partition, before Release. If there is none, or on an error, nothing is held. It waits for the partition until
// ctx is over.
func (t *Table[K, V]) Find(ctx context.Context, key K) (e Entry[K, V], found bool, err error) {
	if t.core().word {
		if found, ok := t.core().findWord(bytesOf(&key), &e.e); ok {
			return e, found, nil
		}
	}
	found, err = t.core().find(ctx, bytesOf(&key), false, &e.e)
	return e, found, err
}

// FindExclusive holds the key's entry as Find does, but exclusively, for a caller that may change it: until Release
// no other caller holds an entry of the partition, and others read it by Get alone.
func (t *Table[K, V]) FindExclusive(ctx context.Context, key K) (e Entry[K, V], found bool, err error) {
	found, err = t.core().find(ctx, bytesOf(&key), true, &e.e)
	return e, found, err
}

// Insert finds an entry as FindExclusive does, and makes it if there is none, with a zero value that Update gives
// access to; it reports whether the entry was there. A new entry is in the table when it is released, all at once;
// until then no other call finds it. It needs memory unless the entry is there.
func (t *Table[K, V]) Insert(ctx context.Context, key K) (e Entry[K, V], found bool, err error) {
	found, err = t.core().insert(ctx, bytesOf(&key), int(t.core().valueSize), &e.e)
	return e, found, err
}

// Len returns the number of entries; 0 after the end. It takes no lock: while others insert and delete, the number is
// of no one moment.
func (t *Table[K, V]) Len() int { return t.core().count() }

// Scan holds one entry after the other, partition by partition, in no order; Delete in the loop deletes the current
// one. What is there all the time comes once; what is inserted or deleted during the scan may come or not. A
// partition's lock is kept while its entries come: other sessions do not change them and, if the lock is exclusive,
// read them by Get alone. The loop's body must not ask for other entries of the table by anything but Get, as that
// may wait for the scan itself.
//
// The second value is not nil if a partition was unavailable, as when ctx ended while another session held it: it is
// the last then, and its entry is nil. An entry is valid in its round of the loop.
func (t *Table[K, V]) Scan(ctx context.Context, exclusive bool) iter.Seq2[*Entry[K, V], error] {
	return func(yield func(*Entry[K, V], error) bool) {
		var e Entry[K, V]
		err := t.core().scan(ctx, exclusive, &e.e, func() bool { return yield(&e, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// All yields a copy of each entry, partition by partition. What is there all the time comes once, what comes or goes
// meanwhile does so or not. No lock is held while the body of the loop runs. An error, as when the area has ended or ctx
// is over, ends the loop.
func (t *Table[K, V]) All(ctx context.Context) iter.Seq2[Item[K, V], error] {
	return eachCopy(ctx, t.core(), func(key, value []byte) (x Item[K, V]) {
		copy(bytesOf(&x.Key), key)
		copy(bytesOf(&x.Value), value)
		return x
	})
}

// Keys yields the key of each entry, as All does.
func (t *Table[K, V]) Keys(ctx context.Context) iter.Seq2[K, error] {
	return eachCopy(ctx, t.core(), func(key, _ []byte) (k K) {
		copy(bytesOf(&k), key)
		return k
	})
}

// Dump writes a text for people to w: the numbers of Verify, the partitions that are held, and by whom. It waits as
// Verify does, and holds nothing while it writes.
func (t *Table[K, V]) Dump(ctx context.Context, w io.Writer) error { return t.core().dump(ctx, w) }

// Verify walks the table, a partition at a time with its lock held shared, and reports what is wrong. It repairs a
// partition whose last holder died, and changes nothing else. It waits for each partition until ctx is over.
func (t *Table[K, V]) Verify(ctx context.Context) (Report, error) { return t.core().verify(ctx) }

// Destroy frees the table and all entries. The caller ensures that no session uses the table any more, nor will. It
// waits for each partition until ctx is over. If it fails, or its session dies, what is left is a table still, which
// can be destroyed.
func (t *Table[K, V]) Destroy(ctx context.Context) error { return t.core().destroy(ctx) }

// Entry is an entry that is held, until Release or Delete, by one goroutine at a time. It is best held for a short
// time: others wait for the partition, of which the table has Options.Partitions. A session that dies with an entry
// has changed it whole or not at all. An Entry is used where it was returned: a copy must not outlive its Release.
type Entry[K comparable, V any] struct{ e entry }

// Key returns a copy of the entry's key; zero after Release, Delete or the end of the area.
func (e *Entry[K, V]) Key() (k K) {
	e.e.copyKey(bytesOf(&k))
	return k
}

// Value returns the entry's value, in place: shared memory, to be read and not to be written, valid until Release or
// Delete. After Update it is the copy. After the end of the hold, or of the area, it is a zero value that belongs to
// no entry.
func (e *Entry[K, V]) Value() *V {
	return castTo[V](e.e.fixedValue())
}

// Update returns a copy of the value to write to, which Release puts in the value's place, at once. Readers see the
// old one until then. Another Update of the entry returns the same copy. If the entry is not held exclusively it
// fails with ErrShared, and nothing changes. A new entry needs memory; one that was found does not. If there was no
// memory for the copy, Release writes the value in place: it waits then for another session that is in the middle of
// doing so in this table.
func (e *Entry[K, V]) Update() (*V, error) {
	b, err := e.e.update(0)
	if err != nil {
		return nil, err
	}
	return castTo[V](b), nil
}

// Delete takes the entry out of the table and ends the hold of it. If the entry is not held exclusively it fails with
// ErrShared, and the entry stays held.
func (e *Entry[K, V]) Delete() error { return e.e.delete() }

// Release ends the hold; what Update was asked for is the entry's value from now on. It has no error: what it can't
// free is freed later. To release twice, or after Delete, is harmless.
func (e *Entry[K, V]) Release() { e.e.release() }
