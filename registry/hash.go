package registry

import (
	"context"
	"reflect"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// Hash tables by name, each in an area of its own: the kind of this package that is built as any other package could
// build one on InArea.

// Hash returns the hash table of that name, in an area of its own. The first caller makes it with o, and the area with
// Options.Area: a table of limited size has its Limit there. Others must ask for the same K and V. Its version is
// o.Version or, if that is 0, that of Options. The table is valid until the session ends, or the owner. Asking again in
// a session is cheap, and gives the same table, unless an owner is named: then each call takes a place among the area's
// sessions. So does another K or V of the same layout, once.
func Hash[K comparable, V any](ctx context.Context, s *dsm.Session, name string, o dshash.Options,
	opts ...Options) (*dshash.Table[K, V], error) {
	type entry struct {
		Key   K
		Value V
	}
	w := wish{name: name, kind: Kind{hashKind, reflect.TypeFor[K]().String() + " to " + reflect.TypeFor[V]().String(),
		shm.Layout[entry]()}}
	t, err := hashTable(ctx, s, w.with(s, opts), o, dshash.Create[K, V], dshash.Attach[K, V])
	return t, errOfName(hashKind, name, err)
}

// HashBytes is Hash for byte strings of any length.
func HashBytes(ctx context.Context, s *dsm.Session, name string, o dshash.Options,
	opts ...Options) (*dshash.Bytes, error) {
	w := wish{name: name, kind: Kind{Name: hashKind, Type: "bytes to bytes"}}
	t, err := hashTable(ctx, s, w.with(s, opts), o, dshash.CreateBytes, dshash.AttachBytes)
	return t, errOfName(hashKind, name, err)
}

// hashTable returns the table of a name, by create or find. A version in o goes into the name's row too, so another
// one is ErrMismatch before the area is attached.
func hashTable[T interface{ Handle() dsa.Pointer }](ctx context.Context, s *dsm.Session, w wish, o dshash.Options,
	create func(*dsa.Area, dshash.Options) (T, error),
	find func(*dsa.Area, dsa.Pointer, dshash.Options) (T, error)) (T, error) {
	if o.Version != 0 {
		w.version = o.Version
	}
	o.Version = w.version
	return objectInArea(ctx, s, w, w.area,
		func(a *dsa.Area, p dsa.Pointer) (T, error) { return find(a, p, o) },
		func(a *dsa.Area) (t T, p dsa.Pointer, err error) {
			if t, err = create(a, o); err == nil {
				p = t.Handle()
			}
			return t, p, err
		})
}
