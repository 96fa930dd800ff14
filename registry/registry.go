// Package registry finds segments, areas and hash tables by name: the first caller that asks for a name
// makes what it stands for, all others get the same.
//
//	hits, err := registry.Segment(ctx, session, "hits", func(h *Hits) error { h.Since = now; return nil })
//	jobs, err := registry.Area(ctx, session, "jobs", dsa.Options{})
//
// InSegment and InArea are the way in for packages with structures of their own: they say what kind of thing a name
// stands for, and how it is made and found.
//
// It adds to dsm what takes a place that sessions know without being given a handle: a table of names in
// the instance's root segment (Session.Root). What has a name is pinned: it stays when no process has
// it attached, until Delete or the end of the instance.
//
// Something is initialised exactly once. A call that comes in between waits; if the initialiser fails, panics or
// is killed, the next one in line begins again, with new bytes, and nothing of the first try is left. No lock
// is held while it runs, so it may use the registry itself (but for its own name: that waits for itself).
//
// What it does not promise: that the bytes behind a name are in order after a death (put locks into them,
// see shm/shmsync), or that names are looked up fast enough for an inner loop: ask once and keep the answer.
//
// # Deaths
//
// A name's row is free, making, ready or going, in one word together with the session that is at work on it. Only
// that session changes the row, and the segment's handle is in the row before the segment is pinned. So whichever
// instruction is a session's last, the next call of any session finds a row with a dead session, makes it its own, and
// finishes:
//
//	the row was               what is left                     what is done
//	making, without a handle  a segment of the dead alone      it went with the dead session; the row is freed
//	making, with a handle     a segment, pinned or not         it is unpinned; the row is freed, the name made anew
//	making, an area           an area, in part                 it is attached, unpinned and detached as the last one
//	                                                           out; if it can't be attached, it is unpinned
//	ready                     what has the name                nothing: it stays
//	going                     the same as when making          the same as then
//
// A session that dies with the table's lock leaves rows that are each whole, since each section stores one word last.
// One that dies while it waits leaves nothing. Sessions that die with an area attached whose name was deleted leave
// the area to its row, which stays, without a name, until the next call that makes, deletes or lists names removes
// both. What can't be removed when it is deleted (an area whose places are all taken, or the system refuses) is such a
// row without a name too.
//
// # Lock order
//
// The table's lock, in shared memory, comes before the mutex of a session's names, which guards what is this process's
// own. Under the table's lock no segment is made, attached or removed, and no function of a program runs; a goroutine
// that holds it may ask whether a session lives. What makes a thing runs under no lock of this package. Locks of
// package dsm are taken inside calls that hold none of the two.
//
// PostgreSQL's namesake is the DSM registry (GetNamedDSMSegment, GetNamedDSA, GetNamedDSHash),
// which can't delete and has no versions.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// Kinds of failure, beside those of package dsm. They match with errors.Is.
var (
	ErrNotFound = errkind.NotFound // no such name
	ErrMismatch = errkind.Mismatch // the name stands for something of another kind, layout or version
	ErrVersion  = errkind.Version  // the table of names has another layout version; the text says which program to upgrade
	ErrFull     = errkind.Full     // there are as many names as the instance can have segments
)

// MaxName is the longest name, in bytes.
const MaxName = 63

// Options are what callers rarely need. Their zero value makes what isn't there, pins it, and
// attaches it for the session's life.
type Options struct {
	Owner     *resowner.Owner // ends the attachment
	Existing  bool            // make nothing: a name that isn't there is ErrNotFound
	Transient bool            // pin nothing: it goes with the last attachment, and the next caller that asks makes it anew

	// Version is of what lies there: it goes up when its meaning changes and its layout does not. Another one is
	// ErrMismatch.
	Version uint64

	// Area is of the area that Hash or HashBytes makes for a table: its limit, for example. It counts for the first
	// caller only. For all others it is fs.ErrInvalid.
	Area dsa.Options
}

// Segment returns the T of that name, in place: a store through the pointer is seen by every session, so what is
// done with it wants atomics or a lock. The first caller makes it, all zero, and runs init on it, which may
// be nil; callers that come meanwhile wait for that, until ctx is over. If init returns an error, that is
// Segment's, and the next caller tries again. So it does if init panics, ends its goroutine (which is logged) or closes
// the session: nothing of the first try is left. T is a type that may lie in shared memory (see shm.Check).
//
// A name of another kind, or of a T with another layout, or another version, is ErrMismatch, which says
// what both are. The pointer is valid until the session ends or, if one is named, the owner (Options, at
// most one). Asking again in a session is cheap, and gives the same pointer unless an owner is named.
func Segment[T any](ctx context.Context, s *dsm.Session, name string, init func(*T) error,
	opts ...Options) (*T, error) {
	if err := shm.Check[T](); err != nil {
		return nil, errOfName(segmentKind, name, err)
	}
	t := reflect.TypeFor[T]()
	k := Kind{segmentKind, t.String(), shm.Layout[T]()}
	g, err := objectInSegment(ctx, s, wish{name: name, kind: k, size: max(uint64(t.Size()), 1)}.with(s, opts), itself,
		func(g *dsm.Segment) (*dsm.Segment, error) {
			v, err := typedAt[T](g)
			if err == nil && init != nil {
				err = init(v)
			}
			return g, err
		})
	if err != nil {
		return nil, errOfName(segmentKind, name, err)
	}
	v, err := typedAt[T](g)
	return v, errOfName(segmentKind, name, err)
}

// itself returns x: where a name stands for a segment and no more, it finds that in the segment.
func itself[X any](x X) (X, error) { return x, nil }

// typedAt returns the T that a segment is, in place. A segment that is too short for a T, since its name's row was
// garbled, is ErrCorrupt; one whose view has ended is ErrClosed.
func typedAt[T any](g *dsm.Segment) (*T, error) {
	r := g.Region()
	v, err := shm.At[T](r, 0)
	if err = r.View().Answer(err); err != nil {
		return nil, err
	}
	return v, nil
}

// Area returns the heap of that name, pinned. The first caller makes it with o, for all others only its being there
// counts. Each call is an attachment of its own, which takes a place among the area's sessions: ask once, and Detach it
// or let the owner. To have objects in it from the start, make a Segment whose init asks for the Area and notes a
// dsa.Pointer.
func Area(ctx context.Context, s *dsm.Session, name string, o dsa.Options, opts ...Options) (*dsa.Area, error) {
	w := wish{name: name, kind: Kind{Name: areaKind}}.with(s, opts)
	w.own = true
	a, err := objectInArea(ctx, s, w, o, func(a *dsa.Area, _ dsa.Pointer) (*dsa.Area, error) { return a, nil },
		func(a *dsa.Area) (*dsa.Area, dsa.Pointer, error) { return a, 0, nil })
	return a, errOfName(areaKind, name, err)
}

// Delete takes a name away: the next caller that asks for it makes something new. What the name stood for stays with the
// sessions that have it attached, this one included. Its memory comes back when the last of them lets it go: by Detach,
// when the owner that it was asked for with ends, or when the session ends. List and Info.Sessions tell, before the
// delete, which sessions those are; Session.Segments does so afterwards. A name that isn't there is ErrNotFound. One
// that is just being made or deleted is waited for. If what it stood for can't be removed now
// (ErrQuota, say), that is an error too, but the name is free, and later calls of any process try again.
func Delete(ctx context.Context, s *dsm.Session, name string) error {
	n, err := namesOf(ctx, s, false)
	if err == nil {
		err = n.deleteName(ctx, name)
	}
	return errOfName("delete", name, err)
}

// wish is what a caller wants a name to stand for: the arguments and Options of a call, checked and in one place.
type wish struct {
	name    string
	kind    Kind
	memory  uint32 // ownSegment, ownArea
	size    uint64 // of a segment that is made
	version uint64
	area    dsa.Options // of a hash

	owner     *resowner.Owner
	own       bool // what is attached is not kept for the session's life
	existing  bool
	transient bool
	invalid   error // why the arguments can't be served; the call returns it before it touches anything
}

// with returns the wish with what the Options say, or with what is wrong with them. Without an owner there it is for
// the session's life, and is kept for the next call.
func (w wish) with(s *dsm.Session, opts []Options) wish {
	w.owner = s.Owner()
	if err := w.kind.check(); err != nil {
		w.invalid = errkind.As(fs.ErrInvalid, err)
	}
	if len(opts) > 1 {
		w.invalid = errkind.As(fs.ErrInvalid, fmt.Errorf("%d Options were given: give one, with all that is wanted", len(opts)))
	}
	for _, o := range opts {
		w.version, w.existing, w.transient, w.area = o.Version, o.Existing, o.Transient, o.Area
		if o.Owner != nil {
			w.owner, w.own = o.Owner, true
		}
		if w.kind.Name != hashKind && o.Area != (dsa.Options{}) {
			w.invalid = errkind.As(fs.ErrInvalid,
				fmt.Errorf("Options.Area is given for %q: it is for a hash, which has an area of its own", w.kind.Name))
		}
	}
	return w
}

// check returns ErrMismatch if r is not what is wished for. The text says what both are.
func (w wish) check(r *record) error {
	if tableText(r.kind[:]) == w.kind.Name && r.memory == w.memory && r.layout == w.kind.Layout && r.version == w.version {
		return nil
	}
	is, asked := r.describe(), w.record().describe()
	if is == asked {
		asked += " with other fields"
	}
	return errkind.As(ErrMismatch, fmt.Errorf("it is %s, and was asked for as %s", is, asked))
}

// checkName returns what is wrong with a name, or nil. A name with a zero byte, which ends a name in a record, is
// refused as one with a control character.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a name has at least one byte")
	case len(name) > MaxName:
		return fmt.Errorf("a name has at most %d bytes, this one has %d", MaxName, len(name))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("a name is UTF-8 text without control characters")
	}
	return nil
}
