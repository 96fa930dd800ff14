//go:build linux

package compat_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/locktable/compat"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

func init() {
	proctest.Register("older", older)
	proctest.Register("newer", newer)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is an instance, a session of it, and a store.
type world struct {
	cfg   dsm.Config
	path  string
	store *compat.Store
}

func newWorld(t *testing.T, path string, o compat.Options) world {
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	_, store, err := openStore(instancetest.Open(t, cfg), path, o)
	must(t, err)
	t.Cleanup(store.Close)
	return world{cfg, path, store}
}

func lockPath(t *testing.T) string { return filepath.Join(t.TempDir(), "storage.lock") }

func (w world) lock(t *testing.T, path ...string) compat.Hold {
	t.Helper()
	h, err := w.store.Lock(ctx, locktable.Exclusive, path...)
	must(t, err)
	return h
}

func ask(p *proctest.Process, question, answer string) { p.Send("%s", question); p.Expect(answer) }

// TestOlderReaderAndWriter: beside a lock of a part a reader is in at once, a writer is not, and sees what has changed; while
// a writer is in no part is locked, and the error names it.
func TestOlderReaderAndWriter(t *testing.T) {
	for _, generation := range generations {
		t.Run(generation, func(t *testing.T) {
			w := newWorld(t, lockPath(t), compat.Options{})
			p := proctest.Start(t, "older", generation, w.path)
			p.Expect("ready")
			ask(p, "rlock", "in")
			ask(p, "modified", "true")
			ask(p, "unlock", "out")
			before, err := w.store.LastWrite()
			must(t, err)
			h := w.lock(t, "layers", "a")
			ask(p, "try", "busy")
			ask(p, "rlock", "in")
			ask(p, "modified", "false")
			ask(p, "unlock", "out")
			_, err = h.Changed()
			must(t, err)
			if after, err := w.store.LastWrite(); err != nil || after == before {
				t.Errorf("the last writer is as before: %v", err)
			}
			p.Send("lock")
			must(t, h.Unlock())
			p.Expect("in")
			ask(p, "modified", "true")
			short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
			defer cancel()
			_, err = w.store.Lock(short, locktable.Shared, "layers", "b")
			if e, ok := errors.AsType[*compat.WaitError](err); !ok || e.Pid != p.Cmd.Process.Pid || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want the end of the context and the writer's pid", err)
			}
			if _, err := w.store.TryLock(ctx, locktable.Shared, "layers", "b"); !errors.Is(err, locktable.ErrHeld) {
				t.Errorf("%v, want ErrHeld", err)
			}
			before, err = w.store.LastWrite()
			must(t, err)
			ask(p, "write", "wrote")
			if after, err := w.store.LastWrite(); err != nil || after == before {
				t.Errorf("the older program's write is not seen: %v", err)
			}
			ask(p, "unlock", "out")
			must(t, w.lock(t, "layers", "b").Unlock())
			if err := h.Unlock(); !errors.Is(err, locktable.ErrNotHeld) {
				t.Errorf("a second Unlock: %v", err)
			}
			must(t, p.Close())
		})
	}
}

// TestOlderWriterComesIn while two processes lock parts without a break.
func TestOlderWriterComesIn(t *testing.T) {
	for _, generation := range generations {
		w := newWorld(t, lockPath(t), compat.Options{})
		var busy []*proctest.Process
		for range 2 {
			p := proctest.Start(t, "newer", w.cfg.Dir, w.path)
			p.Expect("ready")
			ask(p, "busy", "busy")
			busy = append(busy, p)
		}
		p := proctest.Start(t, "older", generation, w.path)
		p.Expect("ready")
		for range 3 {
			began := time.Now()
			ask(p, "lock", "in")
			t.Logf("%s: in after %v", generation, time.Since(began))
			ask(p, "unlock", "out")
		}
		must(t, p.Close())
		for _, p := range busy {
			must(t, p.Close())
		}
	}
}

// TestHolderOfAPartKilled: an older writer comes in at once, and the next one who locks the part is told.
func TestHolderOfAPartKilled(t *testing.T) {
	w := newWorld(t, lockPath(t), compat.Options{})
	n := proctest.Start(t, "newer", w.cfg.Dir, w.path)
	n.Expect("ready")
	ask(n, "lock a", "in")
	p := proctest.Start(t, "older", generations[0], w.path)
	p.Expect("ready")
	ask(p, "try", "busy")
	p.Send("lock")
	n.Kill()
	p.Expect("in")
	ask(p, "unlock", "out")
	h := w.lock(t, "layers", "a")
	if d, ok := h.Recovered(); !ok || d.Application != "newer" {
		t.Errorf("%+v, %v", d, ok)
	}
	must(t, h.Unlock())
	// And the other way: an older writer is killed.
	ask(p, "lock", "in")
	p.Kill()
	must(t, w.lock(t, "layers", "a").Unlock())
}

// TestSessionEndsWithALock: the store stays locked until who had the lock knows that it is over.
func TestSessionEndsWithALock(t *testing.T) {
	path := lockPath(t)
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	_, store, err := openStore(s, path, compat.Options{})
	must(t, err)
	h, err := store.Lock(ctx, locktable.Exclusive, "layers", "a")
	must(t, err)
	must(t, s.Close())
	p := proctest.Start(t, "older", generations[1], path)
	p.Expect("ready")
	ask(p, "try", "busy")
	if err := h.Unlock(); !errors.Is(err, locktable.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	ask(p, "lock", "in")
	ask(p, "unlock", "out")
	if _, err := store.Lock(ctx, locktable.Exclusive, "layers", "a"); !errors.Is(err, locktable.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	store.Close()
	must(t, p.Close())
}

// TestWhole: it waits for parts, and keeps out parts and older readers, here and elsewhere.
func TestWhole(t *testing.T) {
	w := newWorld(t, lockPath(t), compat.Options{})
	n := proctest.Start(t, "newer", w.cfg.Dir, w.path)
	n.Expect("ready")
	ask(n, "lock a", "in")
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := w.store.Whole(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the end of the context", err)
	}
	mine, owner := w.store.As(ctx, "fsck")
	defer owner.Done()
	h, err := w.store.Lock(mine, locktable.Exclusive, "layers", "b")
	must(t, err)
	if _, err := w.store.Whole(mine); !errors.Is(err, compat.ErrSelf) {
		t.Errorf("%v, want ErrSelf", err)
	}
	must(t, h.Unlock())
	done := make(chan *compat.Whole)
	go func() {
		all, err := w.store.Whole(ctx)
		if err != nil {
			t.Error(err)
		}
		done <- all
	}()
	ask(n, "unlock", "out")
	all := <-done
	p := proctest.Start(t, "older", generations[1], w.path)
	p.Expect("ready")
	ask(p, "try", "busy")
	if _, err := w.store.TryLock(ctx, locktable.Shared, "layers", "b"); !errors.Is(err, locktable.ErrHeld) {
		t.Errorf("%v, want ErrHeld", err)
	}
	n.Send("lock a")
	must(t, all.Changed())
	must(t, all.Unlock())
	n.Expect("in")
	if err := all.Unlock(); !errors.Is(err, compat.ErrNotHeld) {
		t.Errorf("%v, want ErrNotHeld", err)
	}
	ask(n, "unlock", "out")
	must(t, n.Close())
	must(t, p.Close())
}

// TestOlderLibraryInOneProcess: what it holds is told, not waited for, and is not lost by what this package does.
func TestOlderLibraryInOneProcess(t *testing.T) {
	for _, generation := range generations {
		w := newWorld(t, lockPath(t), compat.Options{})
		l, _, _, err := openOld(generation, w.path)
		must(t, err)
		l.Lock()
		if _, err := w.store.Lock(ctx, locktable.Shared, "layers", "a"); !errors.Is(err, compat.ErrOldInProcess) {
			t.Errorf("%v, want ErrOldInProcess", err)
		}
		p := proctest.Start(t, "older", generation, w.path)
		p.Expect("ready")
		ask(p, "try", "busy")
		l.Unlock()
		h := w.lock(t, "layers", "a")
		ask(p, "try", "busy")
		l.RLock()
		l.Unlock() // closes its descriptor
		ask(p, "try", "busy")
		must(t, h.Unlock())
		must(t, p.Close())
	}
}

// TestAlone: each lock of a part is one of the whole, as on a network file system.
func TestAlone(t *testing.T) {
	w := newWorld(t, lockPath(t), compat.Options{Alone: true})
	h := w.lock(t, "layers", "a")
	more := w.lock(t, "layers", "b")
	n := proctest.Start(t, "newer", w.cfg.Dir, w.path)
	n.Expect("ready")
	n.Send("lock c")
	p := proctest.Start(t, "older", generations[0], w.path)
	p.Expect("ready")
	ask(p, "try", "busy")
	must(t, h.Unlock())
	ask(p, "try", "busy")
	must(t, more.Unlock())
	n.Expect("in")
	ask(n, "unlock", "out")
	must(t, n.Close())
	must(t, p.Close())
}

// TestLockManyAndClose: several parts are one use of the file, and a closed store locks nothing.
func TestLockManyAndClose(t *testing.T) {
	w := newWorld(t, lockPath(t), compat.Options{})
	p := proctest.Start(t, "older", generations[1], w.path)
	p.Expect("ready")
	hs, err := w.store.LockMany(ctx, locktable.Want{Mode: locktable.Exclusive, Path: []string{"layers", "a"}},
		locktable.Want{Mode: locktable.Shared, Path: []string{"images", "b"}})
	must(t, err)
	ask(p, "try", "busy")
	before, err := w.store.LastWrite()
	must(t, err)
	_, err = hs.Changed(0)
	must(t, err)
	if after, err := w.store.LastWrite(); err != nil || after == before {
		t.Errorf("the last writer is as before: %v", err)
	}
	if _, err := hs.Changed(2); !errors.Is(err, compat.ErrNotHeld) {
		t.Errorf("%v, want ErrNotHeld", err)
	}
	w.store.Close()
	if _, err := w.store.Lock(ctx, locktable.Shared, "a"); !errors.Is(err, compat.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	if _, err := w.store.Whole(ctx); !errors.Is(err, compat.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	ask(p, "try", "busy")
	p.Send("lock")
	must(t, hs.Unlock())
	p.Expect("in")
	must(t, p.Close())
	if err := (compat.Holds{}).Unlock(); !errors.Is(err, compat.ErrNotHeld) {
		t.Error(err)
	}
}
