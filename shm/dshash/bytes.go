package dshash

import (
	"bytes"
	"context"
	"io"
	"iter"

	"github.com/godsm/godsm/shm/dsa"
)

// Bytes is a hash table whose keys and values are byte strings of any length below 4 GiB. What is said
// of Table goes for it too.
type Bytes struct{ t *core }

// CreateBytes makes an empty table, as Create does.
func CreateBytes(a *dsa.Area, o Options) (*Bytes, error) { return CreateBytesInto(a, dsa.Place{}, o) }

// CreateBytesInto makes an empty table in a word, as CreateInto does.
func CreateBytesInto(a *dsa.Area, at dsa.Place, o Options) (*Bytes, error) {
	return wrap[Bytes](create(a, shape{kind: kindBytes}, o, at))
}

// AttachBytes finds the table with that handle, as Attach does.
func AttachBytes(a *dsa.Area, handle dsa.Pointer, o Options) (*Bytes, error) {
	return wrap[Bytes](attach(a, handle, shape{kind: kindBytes}, o))
}

func (t *Bytes) core() *core { return made(t.t) }

// Handle names the table for AttachBytes, in every process that has the area.
func (t *Bytes) Handle() dsa.Pointer { return t.core().handle }

// Get appends a value to dst, and returns that. See Table.Get.
func (t *Bytes) Get(ctx context.Context, key, dst []byte) (value []byte, found bool, err error) {
	q := lookup{key: key, value: dst}
	value, err = t.core().get(ctx, &q)
	return value, q.found, err
}

// Set makes value the key's. See Table.Set.
func (t *Bytes) Set(ctx context.Context, key, value []byte) error {
	return t.core().set(ctx, key, value)
}

// Update calls f with the key's value, in place, and makes what f returns the key's. The value is to be read, not to be
// written, and only until f returns; nil if the key has none, and then existed is false. All else is as with Table.Update.
func (t *Bytes) Update(ctx context.Context, key []byte, f func(value []byte, existed bool) ([]byte, error)) error {
	if f == nil {
		return errNoFunction
	}
	return t.core().update(ctx, key, nil, f)
}

// Delete takes the key's entry out, if there is one.
func (t *Bytes) Delete(ctx context.Context, key []byte) (found bool, err error) {
	return t.core().remove(ctx, key)
}

// Find holds the key's entry shared. See Table.Find.
func (t *Bytes) Find(ctx context.Context, key []byte) (e BytesEntry, found bool, err error) {
	found, err = t.core().find(ctx, key, false, &e.e)
	return e, found, err
}

// FindExclusive holds the key's entry exclusively. See Table.FindExclusive.
func (t *Bytes) FindExclusive(ctx context.Context, key []byte) (e BytesEntry, found bool, err error) {
	found, err = t.core().find(ctx, key, true, &e.e)
	return e, found, err
}

// Insert is FindExclusive, and makes the entry if there is none: with a value of n zero bytes that Update gives
// access to. See Table.Insert.
func (t *Bytes) Insert(ctx context.Context, key []byte, n int) (e BytesEntry, found bool, err error) {
	found, err = t.core().insert(ctx, key, n, &e.e)
	return e, found, err
}

// Len returns the number of entries.
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
	return copies(ctx, t.core(), func(key, value []byte) Item[[]byte, []byte] {
		return Item[[]byte, []byte]{bytes.Clone(key), bytes.Clone(value)}
	})
}

// Keys yields a copy of the key of each entry. See Table.All.
func (t *Bytes) Keys(ctx context.Context) iter.Seq2[[]byte, error] {
	return copies(ctx, t.core(), func(key, _ []byte) []byte { return bytes.Clone(key) })
}

// Dump writes for people what the table has, and who holds it.
func (t *Bytes) Dump(ctx context.Context, w io.Writer) error { return t.core().dump(ctx, w) }

// Verify walks the table and says what is wrong. See Table.Verify.
func (t *Bytes) Verify(ctx context.Context) (Report, error) { return t.core().verify(ctx) }

// Destroy frees the table and all in it. See Table.Destroy.
func (t *Bytes) Destroy(ctx context.Context) error { return t.core().destroy(ctx) }

// BytesEntry is an entry that is held, as Entry is.
type BytesEntry struct{ e entry }

// Key returns the entry's, in place, until Release or Delete: to be read, not to be written. After that, or the end of the
// area, it is nil.
func (e *BytesEntry) Key() []byte {
	key, _ := e.e.look()
	return key
}

// Value returns the entry's, in place, until Release or Delete: to be read, not to be written. After that, or the end of the
// area, it is nil.
func (e *BytesEntry) Value() []byte {
	_, value := e.e.look()
	return value
}

// Update returns a copy of the value, cut or continued with zeros to n bytes, to write to, which Release puts in the
// value's place, at once. It is valid until then, or the next Update. A value that is longer than any that the entry
// had needs memory. If there is none, what an earlier one, or Insert, was asked for is gone too, unless one that succeeds
// follows; a length that no value can have is ErrSize, and changes nothing. See Entry.Update.
func (e *BytesEntry) Update(n int) ([]byte, error) { return e.e.update(n) }

// Delete takes the entry out of the table and ends the hold of it. It fails if the entry is not
// held exclusively (ErrShared).
func (e *BytesEntry) Delete() error { return e.e.delete() }

// Release ends the hold; what Update was asked for is the entry's value from now on. Twice, or
// after Delete, is harmless.
func (e *BytesEntry) Release() { e.e.release() }
