package dshash

import (
	"context"
	"io"
	"iter"

	"github.com/godsm/godsm/shm/dsa"
)

// Table is a hash table of K and V, as one session sees it: all goroutines of a session share one.
// Its methods are safe for concurrent use, but that a goroutine which holds an entry may wait for
// itself, until its context ends, if it asks for another one of the table.
//
// A context bounds the wait for a partition, and for the area's lock where a partition is repaired.
// Not the wait for that lock where memory is allocated or freed, mostly that of growth: while
// somebody is stopped in the area, it ends after 10 s, with an error.
//
// A table ends with its area's View: from then on each call is ErrClosed, and an entry that is still held changes nothing
// any more. Release gives its lock back nevertheless, if the session goes on; the area's bytes stay mapped until then.
//
// A segment that another program truncates is ErrCorrupt. What is held when that happens is not safe: an entry's Value
// in place, and Release of one that is held shared, which takes no time for that, fault. Inside Session.Contain of package
// dsm the fault is its error, and the entries that its goroutine holds are given back; their partitions are repaired.
//
// PostgreSQL's namesake is dshash_table.
type Table[K comparable, V any] struct{ t *core }

// Create makes an empty table. Others attach it by its Handle. It takes an object of 384 bytes for each partition.
//
// K and V may be what shm.Check lets lie in shared memory. Keys are compared by their bytes: no
// floats, no padding and no blank fields in K. V may be of no size: then it is a set.
func Create[K comparable, V any](a *dsa.Area, o Options) (*Table[K, V], error) {
	return CreateInto[K, V](a, dsa.Place{}, o)
}

// CreateInto is Create into a word that reads 0 and owns the table from its first moment, so that
// no death loses it. If its creator dies the word may lead to a table that Attach does not know:
// dsa.Area.FreeFrom frees that. Who destroys the table clears the word afterwards.
func CreateInto[K comparable, V any](a *dsa.Area, at dsa.Place, o Options) (*Table[K, V], error) {
	s, err := shapeOf[K, V]()
	if err != nil {
		return nil, err
	}
	return wrap[Table[K, V]](create(a, s, o, at))
}

// Attach finds the table with that handle, which must be of the same K, V and Options.Version: else
// it is ErrMismatch. (Types are the same if their sizes, kinds, and the names and offsets of their
// fields are.) A table that was destroyed is dsa.ErrPointer or ErrNotFound, no table at all
// ErrCorrupt.
func Attach[K comparable, V any](a *dsa.Area, handle dsa.Pointer, o Options) (*Table[K, V], error) {
	s, err := shapeOf[K, V]()
	if err != nil {
		return nil, err
	}
	return wrap[Table[K, V]](attach(a, handle, s, o))
}

func wrap[T ~struct{ t *core }](t *core, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return &T{t}, nil
}

func (t *Table[K, V]) core() *core { return made(t.t) }

// made returns the table, or for the zero Table one that has ended.
func made(t *core) *core {
	if t == nil {
		return unmade
	}
	return t
}

// Handle names the table for Attach, in every process that has the area.
func (t *Table[K, V]) Handle() dsa.Pointer { return t.core().handle }

// Get copies a value out. It takes no lock, and sees a change from the moment its Set, Delete or
// Release makes it, unless the partition is changed all the while: then, or if the entry's memory
// is not mapped here yet, it does as Find.
func (t *Table[K, V]) Get(ctx context.Context, key K) (value V, found bool, err error) {
	if lockless && t.core().word {
		if found, ok := t.core().glanceWord(bytesOf(&key), bytesOf(&value)); ok {
			return value, found, nil
		}
	}
	var q lookup // field by field: a literal is made elsewhere and copied, which costs a sixth of all
	q.key, q.value = bytesOf(&key), bytesOf(&value)
	if _, err = t.core().get(ctx, &q); !q.found {
		var none V
		return none, false, err
	}
	return value, true, nil
}

// Set makes value the key's, whether it has one or not. If it fails nothing has changed: because there is no memory (the
// area's limit, no space), or because ctx ended while another session held the partition. A key that has a value
// gets another one of the same length, or a shorter one, even if there is no memory. (What ctx does not bound is said of
// Table.)
func (t *Table[K, V]) Set(ctx context.Context, key K, value V) error {
	return t.core().set(ctx, bytesOf(&key), bytesOf(&value))
}

// Update calls f with a copy of the key's value, and makes what f leaves there the key's, at once. If the key has no
// value, existed is false and *v is zero; the entry is made when f has returned. If f returns an error, Update returns
// that and nothing has changed: a key that had no value still has none. So it is if f panics or ends its goroutine, or if
// the process dies in f.
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

// Delete takes the key's entry out, if there is one. It needs no memory.
func (t *Table[K, V]) Delete(ctx context.Context, key K) (found bool, err error) {
	return t.core().remove(ctx, bytesOf(&key))
}

// Find holds the key's entry shared: nobody changes it, or any other of its partition, before
// Release. If there is none, nothing is held.
func (t *Table[K, V]) Find(ctx context.Context, key K) (e Entry[K, V], found bool, err error) {
	if t.core().word {
		if found, ok := t.core().findWord(bytesOf(&key), &e.e); ok {
			return e, found, nil
		}
	}
	found, err = t.core().find(ctx, bytesOf(&key), false, &e.e)
	return e, found, err
}

// FindExclusive is Find for who means to change the entry: nobody else has the partition.
func (t *Table[K, V]) FindExclusive(ctx context.Context, key K) (e Entry[K, V], found bool, err error) {
	found, err = t.core().find(ctx, bytesOf(&key), true, &e.e)
	return e, found, err
}

// Insert is FindExclusive, and makes the entry if there is none: with a zero value that Update
// gives access to. It is in the table when it is released, all at once.
func (t *Table[K, V]) Insert(ctx context.Context, key K) (e Entry[K, V], found bool, err error) {
	found, err = t.core().insert(ctx, bytesOf(&key), int(t.core().valueSize), &e.e)
	return e, found, err
}

// Len returns the number of entries; 0 after the end. While others insert and delete it is of no one moment.
func (t *Table[K, V]) Len() int { return t.core().count() }

// Scan holds one entry after the other, partition by partition; Delete in the loop deletes the
// current one. What is there all the time comes once, what comes or goes meanwhile does so or not.
// A partition's lock is kept while its entries come: nobody else changes them, nor reads them but
// by Get. The second value is not nil if a partition was unavailable; it is the last then, and its
// entry is nil.
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
	return copies(ctx, t.core(), func(key, value []byte) (x Item[K, V]) {
		copy(bytesOf(&x.Key), key)
		copy(bytesOf(&x.Value), value)
		return x
	})
}

// Keys yields the key of each entry, as All does.
func (t *Table[K, V]) Keys(ctx context.Context) iter.Seq2[K, error] {
	return copies(ctx, t.core(), func(key, _ []byte) (k K) {
		copy(bytesOf(&k), key)
		return k
	})
}

// Dump writes for people what the table has, and who holds it.
func (t *Table[K, V]) Dump(ctx context.Context, w io.Writer) error { return t.core().dump(ctx, w) }

// Verify walks the table, a partition at a time under its lock, and says what is wrong; a partition
// whose last holder died it repairs.
func (t *Table[K, V]) Verify(ctx context.Context) (Report, error) { return t.core().verify(ctx) }

// Destroy frees the table and all in it. The caller ensures that nobody uses it any more, nor
// will. If it fails, or its session dies, the rest is a table still, that can be destroyed.
func (t *Table[K, V]) Destroy(ctx context.Context) error { return t.core().destroy(ctx) }

// Entry is an entry that is held, until Release or Delete, in one goroutine at a time. It is best
// held for a short time: others wait for the partition, of which the table has Options.Partitions.
// A session that dies with an entry has changed it whole or not at all. It is used where it was returned: a copy must
// not outlive its Release.
type Entry[K comparable, V any] struct{ e entry }

// Key returns the entry's; zero after Release, Delete or the end of the area.
func (e *Entry[K, V]) Key() (k K) {
	e.e.copyKey(bytesOf(&k))
	return k
}

// Value returns the entry's, in place, until Release or Delete: to be read, not to be written. After that, or the end of the
// area, it is that of nothing: zero.
func (e *Entry[K, V]) Value() *V {
	return as[V](e.e.fixedValue())
}

// Update returns a copy of the value to write to, which Release puts in the value's place, at once.
// Readers see the old one until then. It fails, and nothing changes, if the entry is not held
// exclusively (ErrShared). A new entry needs memory; one that was found does not. If there was no memory for the copy,
// Release writes the value in place: it waits then for another session that is in the middle of doing so in this table.
func (e *Entry[K, V]) Update() (*V, error) {
	b, err := e.e.update(0)
	if err != nil {
		return nil, err
	}
	return as[V](b), nil
}

// Delete takes the entry out of the table and ends the hold of it. It fails if the entry is not
// held exclusively (ErrShared).
func (e *Entry[K, V]) Delete() error { return e.e.delete() }

// Release ends the hold; what Update was asked for is the entry's value from now on. Twice, or
// after Delete, is harmless.
func (e *Entry[K, V]) Release() { e.e.release() }
