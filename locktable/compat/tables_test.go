//go:build linux

package compat_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/locktable/compat"
)

// TestTwoTablesAreNeverBothIn: processes of two instances lock the parts of one store, and are killed now and then.
func TestTwoTablesAreNeverBothIn(t *testing.T) {
	path := lockPath(t)
	w := []world{newWorld(t, path, compat.Options{})}
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	w = append(w, world{cfg: cfg, path: path})
	start := func(i int) *proctest.Process {
		p := proctest.Start(t, "newer", w[i].cfg.Dir, path)
		p.Expect("ready")
		ask(p, "fight", "fighting")
		return p
	}
	ps := []*proctest.Process{start(0), start(1), start(0), start(1)}
	for i := range 12 {
		for _, p := range ps { // each goes on
			for range 5 {
				p.Expect("round")
			}
		}
		ps[i%4].Kill()
		ps[i%4] = start(i % 2)
	}
	for _, p := range ps {
		p.Kill()
		if text := p.Stderr(); text != "" {
			t.Error(text)
		}
	}
}

// TestOtherTableIsRefused, in one process and by another one, if that is what is asked for.
func TestOtherTableIsRefused(t *testing.T) {
	path := lockPath(t)
	a := newWorld(t, path, compat.Options{Refuse: true})
	b := newWorld(t, lockPath(t), compat.Options{})
	if _, _, err := openStore(instancetest.Open(t, b.cfg), path, compat.Options{}); !errors.Is(err, compat.ErrOtherTable) {
		t.Errorf("%v, want ErrOtherTable", err)
	}
	n := proctest.Start(t, "newer", b.cfg.Dir, path)
	n.Expect("ready")
	ask(n, "lock a", "in")
	if _, err := a.store.Lock(ctx, locktable.Exclusive, "layers", "a"); !errors.Is(err, compat.ErrOtherTable) {
		t.Errorf("%v, want ErrOtherTable", err)
	}
	ask(n, "unlock", "out")
	must(t, n.Close())
	must(t, a.lock(t, "layers", "a").Unlock())
}

// TestAnotherTableInOneProcess: the next table guards the store when the last lock of the one before has gone.
func TestAnotherTableInOneProcess(t *testing.T) {
	path := lockPath(t)
	a := newWorld(t, path, compat.Options{})
	h := a.lock(t, "layers", "a")
	a.store.Close()
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	if _, _, err := openStore(s, path, compat.Options{}); !errors.Is(err, compat.ErrOtherTable) {
		t.Fatalf("%v, want ErrOtherTable: a lock is held", err)
	}
	must(t, h.Unlock())
	_, store, err := openStore(s, path, compat.Options{})
	must(t, err)
	defer store.Close()
	b, err := store.Lock(ctx, locktable.Exclusive, "layers", "a")
	must(t, err)
	n := proctest.Start(t, "newer", a.cfg.Dir, path)
	n.Expect("ready")
	n.Send("lock a") // of the table before: it waits for the whole store
	p := proctest.Start(t, "newer", cfg.Dir, path)
	p.Expect("ready")
	ask(p, "lock b", "in")
	ask(p, "unlock", "out")
	must(t, b.Unlock())
	n.Expect("in")
	ask(n, "unlock", "out")
	must(t, n.Close())
	must(t, p.Close())
}
