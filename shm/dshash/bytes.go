package dshash

import (
	"bytes"
	"context"
	"io"
	"iter"

	"github.com/godsm/godsm/shm/dsa"
)

// Bytes, whose keys and values are byte strings. It differs from Table in what is copied and in what a length can be;
// all else is core's.

// Bytes is a hash table whose keys and values are byte strings of any length below 4 GiB. What is said of Table holds
// for it too. The zero Bytes is one that has ended.
type Bytes struct{ t *core }

// CreateBytes makes an empty table, as Create does.
func CreateBytes(a *dsa.Area, o Options) (*Bytes, error) { return CreateBytesInto(a, dsa.Place{}, o) }

// CreateBytesInto makes an empty table in a word that owns it, as CreateInto does.
func CreateBytesInto(a *dsa.Area, at dsa.Place, o Options) (*Bytes, error) {
	return wrap[Bytes](create(a, shape{kind: kindBytes}, o, at))
}

// AttachBytes finds the table with that handle, as Attach does. A table of fixed types is ErrMismatch.
func AttachBytes(a *dsa.Area, handle dsa.Pointer, o Options) (*Bytes, error) {
	return wrap[Bytes](attach(a, handle, shape{kind: kindBytes}, o))
}

// core returns what the methods work on.
func (t *Bytes) core() *core { return orEnded(t.t) }

// Handle returns the name of the table for AttachBytes, in every process that has the area. It is valid until
// Destroy.
func (t *Bytes) Handle() dsa.Pointer { return t.core().handle }

// Get appends the key's value to dst, and returns the result and whether there is one; if not, the result is dst. It
// copies, and allocates if dst has no room. It takes no lock unless Table.Get would.
func (t *Bytes) Get(ctx context.Context, key, dst []byte) (value []byte, found bool, err error) {
	q := lookup{key: key, value: dst}
	value, err = t.core().get(ctx, &q)
	return value, q.found, err
}

// Set makes a copy of value the key's. See Table.Set. A key that has a value gets another one of the same length, or
// a shorter one, even if there is no memory. For that the table sets memory aside, as much as its longest value takes: so a
// value of more than half of the area's limit does not fit.
func (t *Bytes) Set(ctx context.Context, key, value []byte) error {
	return t.core().set(ctx, key, value)
}

// Update calls f with the key's value, in place, and makes what f returns the key's. The value is to be read, not to be
// written, and only until f returns; nil if the key has none, and then existed is false. All else is as with
// Table.Update.
func (t *Bytes) Update(ctx context.Context, key []byte, f func(value []byte, existed bool) ([]byte, error)) error {
	if f == nil {
		return errNoFunction
	}
	return t.core().update(ctx, key, nil, f)
}

// Delete takes the key's entry out, and reports whether there was one. It needs no memory.
func (t *Bytes) Delete(ctx context.Context, key []byte) (found bool, err error) {
	return t.core().remove(ctx, key)
}

// Find holds the key's entry shared, and reports whether there is one. See Table.Find.
func (t *Bytes) Find(ctx context.Context, key []byte) (e BytesEntry, found bool, err error) {
	found, err = t.core().find(ctx, key, false, &e.e)
	return e, found, err
}

// FindExclusive holds the key's entry exclusively, and reports whether there is one. See Table.FindExclusive.
func (t *Bytes) FindExclusive(ctx context.Context, key []byte) (e BytesEntry, found bool, err error) {
	found, err = t.core().find(ctx, key, true, &e.e)
	return e, found, err
}

// Insert finds an entry as FindExclusive does, and makes it if there is none: with a value of n zero bytes that
// Update gives access to. It reports whether the entry was there; then n means nothing. See Table.Insert.
func (t *Bytes) Insert(ctx context.Context, key []byte, n int) (e BytesEntry, found bool, err error) {
	found, err = t.core().insert(ctx, key, n, &e.e)
	return e, found, err
}

// Len returns the number of entries. See Table.Len.
func (t *Bytes) Len() int { return t.core().count() }

// Scan holds one entry after the other. See Table.Scan.
func (t *Bytes) Scan(ctx context.Context, exclusive bool) iter.Seq2[*BytesEntry, error] {
	return func(yield func(*BytesEntry, error) bool) {
		var e BytesEntry
		err := t.core().scan(ctx, exclusive, &e.e, func() bool { return yield(&e, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// All yields a copy of each entry. See Table.All.
func (t *Bytes) All(ctx context.Context) iter.Seq2[Item[[]byte, []byte], error] {
	return eachCopy(ctx, t.core(), func(key, value []byte) Item[[]byte, []byte] {
		return Item[[]byte, []byte]{bytes.Clone(key), bytes.Clone(value)}
	})
}

// Keys yields a copy of the key of each entry. See Table.All.
func (t *Bytes) Keys(ctx context.Context) iter.Seq2[[]byte, error] {
	return eachCopy(ctx, t.core(), func(key, _ []byte) []byte { return bytes.Clone(key) })
}

// Dump writes a text for people to w. See Table.Dump.
func (t *Bytes) Dump(ctx context.Context, w io.Writer) error { return t.core().dump(ctx, w) }

// Verify walks the table and reports what is wrong. See Table.Verify.
func (t *Bytes) Verify(ctx context.Context) (Report, error) { return t.core().verify(ctx) }

// Destroy frees the table and all entries. See Table.Destroy.
func (t *Bytes) Destroy(ctx context.Context) error { return t.core().destroy(ctx) }

// BytesEntry is an entry that is held, as Entry is.
type BytesEntry struct{ e entry }

// Key returns the entry's key, in place: shared memory, to be read and not to be written, valid until Release or
// Delete. After that, or the end of the area, it is nil.
func (e *BytesEntry) Key() []byte {
	key, _ := e.e.heldKeyValue()
	return key
}

// Value returns the entry's value, in place: shared memory, to be read and not to be written, valid until Release,
// Delete or the next Update, after which it is the copy. After the hold, or the end of the area, it is nil.
func (e *BytesEntry) Value() []byte {
	_, value := e.e.heldKeyValue()
	return value
}

// Update returns a copy of the value to write to, cut or continued with zeros to n bytes, which Release puts in the
// value's place, at once. The copy is valid until then, or the next Update. A value that is longer than any that the
// entry had needs memory. If there is none, what an earlier Update, or Insert, was asked for is gone too, unless an
// Update that succeeds follows. A length that no value can have is ErrSize, and changes nothing. See Entry.Update.
func (e *BytesEntry) Update(n int) ([]byte, error) { return e.e.update(n) }

// Delete takes the entry out of the table and ends the hold of it. See Entry.Delete.
func (e *BytesEntry) Delete() error { return e.e.delete() }

// Release ends the hold; what Update was asked for is the entry's value from now on. See Entry.Release.
func (e *BytesEntry) Release() { e.e.release() }
