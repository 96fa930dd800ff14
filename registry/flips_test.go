package registry_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
)

// namesLock is where the lock lies in the table of names.
const namesLock, lockSize = 64, 256

// usable asks for names by each session: one that is there, and one that is made and deleted.
func usable(t *testing.T, what string, sessions ...*dsm.Session) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i, s := range sessions {
		if _, err := registry.Segment(soon, s, "x", initOnce); err != nil {
			t.Fatalf("%s: session %d: %v", what, i, err)
		}
		y := fmt.Sprint("y", i)
		owner, err := s.Owner().Child(y)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Segment[counter](soon, s, y, nil, registry.Options{Owner: owner}); err != nil {
			t.Fatalf("%s: session %d: %v", what, i, err)
		}
		if err := errors.Join(registry.Delete(soon, s, y), owner.Abort()); err != nil {
			t.Fatalf("%s: session %d: %v", what, i, err)
		}
	}
}

// TestEveryBitOfTheNamesLock: whichever bit of it a stray store has changed, names are there for the sessions of
// before and for newcomers. Poison is one of them.
func TestEveryBitOfTheNamesLock(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	usable(t, "at first", a, b)
	root, err := a.Root(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	words, err := shm.SliceOf[atomic.Uint64](root.Region(), namesLock, lockSize/8)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range lockSize * 8 {
		if testing.Short() && bit > 64 && bit%5 != 0 {
			continue
		}
		at := &words[bit/64]
		for v := at.Load(); !at.CompareAndSwap(v, v^1<<(bit%64)); v = at.Load() {
		}
		usable(t, fmt.Sprint("bit ", bit), a, b)
		if bit%61 == 0 || bit < 64 {
			newcomer := instancetest.Open(t, cfg)
			usable(t, fmt.Sprint("bit ", bit, ", newcomer"), newcomer)
			is(t, "close", newcomer.Close(), nil)
		}
	}
}

// TestNamesLockOfAnInnocent: a word that names a session that lives and does not hold the lock is given back by it.
func TestNamesLockOfAnInnocent(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	usable(t, "at first", a, b)
	root, err := a.Root(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	state, err := shm.At[atomic.Uint64](root.Region(), namesLock)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		state.Or(b.Self().Peer.Word())
		usable(t, "it names b", a, b)
		state.Or(b.Self().Peer.Word() | 1<<48) // poisoned, too
		usable(t, "it names b and is poisoned", a, b)
	}
}

// TestTruncatedNames: calls are ErrCorrupt, and no end of the process.
func TestTruncatedNames(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	usable(t, "at first", s)
	list, err := s.Segments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		if g.Root {
			if err := os.Truncate(g.OSName, 0); err != nil {
				t.Skip("skipped: the backend's objects can't be truncated here: ", err)
			}
		}
	}
	soon, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, s := range []*dsm.Session{s, instancetest.Open(t, cfg)} {
		_, err = registry.Segment(soon, s, "x", initOnce)
		is(t, "segment", err, dsm.ErrCorrupt)
		_, err = registry.List(soon, s)
		is(t, "list", err, dsm.ErrCorrupt)
		is(t, "delete", registry.Delete(soon, s, "x"), dsm.ErrCorrupt)
		is(t, "close", s.Close(), nil)
	}
}

// TestRowOfAnInnocent: a row that names a session that lives and is not at work on it is given up by it.
func TestRowOfAnInnocent(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	usable(t, "at first", a, b)
	root, err := a.Root(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	const header, wordSize, recordSize, nameAt = 320, 8, 224, 48
	rows := (root.Size() - header) / (wordSize + recordSize)
	words, err := shm.SliceOf[atomic.Uint64](root.Region(), header, rows)
	if err != nil {
		t.Fatal(err)
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte("z"))
	for state := uint64(1); state <= 3; state += 2 { // making, going
		row := rows - int(state)
		name, err := root.Region().Bytes(shm.Offset(header+rows*wordSize+row*recordSize+nameAt), 2)
		if err != nil {
			t.Fatal(err)
		}
		copy(name, "z\x00")
		words[row].Store(hash.Sum64()>>45<<45 | state<<43 | b.Self().Peer.Word())
		soon, cancel := context.WithTimeout(ctx, 30*time.Second)
		if _, err := registry.Segment[counter](soon, a, "z", nil); err != nil {
			t.Errorf("state %d: %v", state, err)
		}
		cancel()
		is(t, "delete", registry.Delete(ctx, a, "z"), nil)
	}
}
