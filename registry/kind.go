package registry

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm/dsa"
)

// The way in for packages that have structures of their own. They say how a thing is made and found; that it is made
// once, and cleared away after a death, is the same for all kinds.

// Kind is what names stand for, as the package says that has built it on InSegment or InArea. Another Name or Layout
// than the one that a name was made with is ErrMismatch, which says what both are.
type Kind struct {
	Name   string // "cache": List and errors call it so. Lower-case letters, digits and dashes, at most MaxKind
	Type   string // of what lies there, for people: 80 bytes of it are kept. It may be empty
	Layout uint64 // a digest of all that the users of a name must agree on
}

// MaxKind is the longest name of a Kind, in bytes.
const MaxKind = 31

// The kinds of this package.
const (
	segmentKind = "segment"
	areaKind    = "area"
	hashKind    = "hash"
)

// check returns what is wrong with a kind's name, or nil.
func (k Kind) check() error {
	strange := func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	if k.Name == "" || len(k.Name) > MaxKind || strings.ContainsFunc(k.Name, strange) {
		return fmt.Errorf("%q can't be the name of a kind: it has 1 to %d lower-case letters, digits and dashes", k.Name, MaxKind)
	}
	return nil
}

// InSegment returns the X of that name and kind, over a segment of its own. The first caller makes the segment, of size
// bytes, all zero, and create makes the X in it. All others get theirs by find; size does not count for them. Both get
// the segment, which is attached until the session ends or, if one is named, the owner. While create runs, other
// callers wait, until ctx is over; if it fails, panics or is killed, nothing of the try is left, and the next caller
// makes it.
//
// Asking again in a session is cheap and gives the same X, unless an owner is named.
func InSegment[X any](ctx context.Context, s *dsm.Session, name string, k Kind, size int,
	create, find func(*dsm.Segment) (X, error), opts ...Options) (X, error) {
	w := wish{name: name, kind: k, size: uint64(size)}.with(s, opts)
	if size < 1 {
		w.invalid = errkind.As(fs.ErrInvalid, fmt.Errorf("a segment of %d bytes: it has at least one", size))
	}
	x, err := objectInSegment(ctx, s, w, find, create)
	return x, errOfName(k.Name, name, err)
}

// InArea returns the X of that name and kind, over an area of its own. The first caller makes the area with o, and
// create makes the X in it and returns where that is; find gets that. All else is as with InSegment.
func InArea[X any](ctx context.Context, s *dsm.Session, name string, k Kind, o dsa.Options,
	create func(*dsa.Area) (X, dsa.Pointer, error), find func(*dsa.Area, dsa.Pointer) (X, error),
	opts ...Options) (X, error) {
	x, err := objectInArea(ctx, s, wish{name: name, kind: k}.with(s, opts), o, find, create)
	return x, errOfName(k.Name, name, err)
}
