package liveness_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/sys/folder"
	"github.com/godsm/godsm/internal/sys/liveness"
)

// books is which members file is in force.
type books struct {
	ino    atomic.Uint64
	broken atomic.Bool
}

func (b *books) inForce() (uint64, bool) { return b.ino.Load(), !b.broken.Load() }

// succession is a directory with a members file in force.
type succession struct {
	*testing.T
	dir   *folder.Folder
	books *books
}

const membersName = "members.1"

func newSuccession(t *testing.T) succession {
	t.Helper()
	dir, err := folder.Open(t.TempDir())
	if err == nil {
		err = liveness.CreateIn(dir, membersName)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	s := succession{t, dir, &books{}}
	r := s.roll(false)
	s.books.ino.Store(r.Identity().Ino)
	r.Close()
	return s
}

// roll opens the file that has the name now.
func (s succession) roll(heeds bool) *liveness.Roll {
	s.Helper()
	r, err := liveness.OpenIn(s.dir, membersName)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(r.Close)
	if heeds {
		r.Heed(s.books.inForce)
	}
	return r
}

func (s succession) member(row int) *liveness.Roll {
	s.Helper()
	r := s.roll(true)
	if ok, err := r.Take(row); !ok || err != nil {
		s.Fatal(ok, err)
	}
	return r
}

func (s succession) remove() {
	s.Helper()
	if err := os.Remove(filepath.Join(s.dir.Path(), membersName)); err != nil {
		s.Fatal(err)
	}
}

func (s succession) want(what string, got, want bool) {
	s.Helper()
	if got != want {
		s.Errorf("%s: %v", what, got)
	}
}

// TestSuccession goes through the steps with a supervisor, two sessions, and one that asks the old file throughout.
func TestSuccession(t *testing.T) {
	s := newSuccession(t)
	sup, a, b := s.member(0), s.member(1), s.member(2)
	late := s.roll(true) // it hears of nothing
	s.remove()
	if err := sup.Renew(); err != nil {
		t.Fatal(err)
	}
	if err := a.Follow(); err != nil {
		t.Fatal(err)
	}
	s.want("session 1 has moved", sup.Succeeded(1), true)
	s.want("session 2 has moved", sup.Succeeded(2), false)
	s.want("row 3, that nobody has, has moved", sup.Succeeded(3), true)
	for _, r := range []*liveness.Roll{sup, a, b, late} {
		s.want("1 is held", r.Held(1), true)
		s.want("2 is held", r.Held(2), true)
		s.want("3 is held", r.Held(3), false)
	}
	if err := b.Follow(); err != nil {
		t.Fatal(err)
	}
	s.want("session 2 has moved", sup.Succeeded(2), true)
	ino, ok := sup.Successor()
	s.want("there is a successor", ok, true)
	s.books.ino.Store(ino)
	if err := errors.Join(sup.Follow(), a.Follow()); err != nil { // b has not heard of it yet
		t.Fatal(err)
	}
	if _, ok := sup.Successor(); ok {
		t.Error("there is a successor of the successor")
	}
	c := s.member(3)
	for i, r := range []*liveness.Roll{sup, a, b, c, late} {
		for row := range 4 {
			s.want("a row is held", r.Held(row), true)
		}
		s.want("row 4 is held, as far as is known", r.Held(4), r == late)
		s.want("in force", r.InForce(), r != late)
		if n, err := r.Count(10); r != late && r != b && (n != 4 || err != nil) {
			t.Errorf("roll %d counts %d, %v", i, n, err)
		}
	}
	if ok, err := late.Take(1); !ok || err != nil {
		t.Error(ok, err) // in the old file, which proves nothing: InForce says so
	}
	s.want("in force", late.InForce(), false)
	a.Close()
	for _, r := range []*liveness.Roll{sup, b, c} {
		s.want("1 is held after its end", r.Held(1), false)
	}
	if err := b.Drop(2); err != nil {
		t.Fatal(err)
	}
	s.want("2 is held after its end", sup.Held(2), false)
	s.want("2 is held after its end", c.Held(2), false)
	s.books.broken.Store(true)
	s.want("1 is held, as far as can be told", sup.Held(1), true)
}

// TestSuccessorRemoved: a cleaner takes the successor, too, before it is in force, and after that.
func TestSuccessorRemoved(t *testing.T) {
	s := newSuccession(t)
	sup, a := s.member(0), s.member(1)
	for range 3 {
		s.remove()
		if err := errors.Join(a.Follow(), sup.Renew(), a.Follow()); err != nil { // the first finds nothing
			t.Fatal(err)
		}
		s.remove()
		if err := sup.Renew(); err != nil {
			t.Fatal(err)
		}
		s.want("the session has moved", sup.Succeeded(1), false)
		if err := a.Follow(); err != nil {
			t.Fatal(err)
		}
		s.want("the session has moved", sup.Succeeded(1), true)
		ino, _ := sup.Successor()
		s.books.ino.Store(ino)
		if err := errors.Join(sup.Follow(), a.Follow()); err != nil {
			t.Fatal(err)
		}
		s.want("0 is held", a.Held(0), true)
		s.want("2 is held", a.Held(2), false)
	}
	names, err := s.dir.Names()
	if err != nil || len(names) != 1 {
		t.Errorf("the directory has %v, %v", names, err)
	}
}

// TestSuccessorRefused: what can't be replaced, or locked, is an error, and leaves nothing behind.
func TestSuccessorRefused(t *testing.T) {
	s := newSuccession(t)
	sup, a := s.member(0), s.member(1)
	s.remove()
	path := filepath.Join(s.dir.Path(), membersName)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sup.Renew(); err == nil {
		t.Error("a directory was replaced")
	}
	if err := a.Follow(); err != nil {
		t.Errorf("Follow with a directory there: %v", err)
	}
	if _, ok := sup.Successor(); ok {
		t.Error("there is a successor")
	}
	if err := errors.Join(os.Remove(path), liveness.CreateIn(s.dir, membersName)); err != nil {
		t.Fatal(err)
	}
	other := s.roll(false)
	if ok, err := other.Take(1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := a.Follow(); err == nil {
		t.Error("a session took a row that another has")
	}
	names, err := s.dir.Names()
	if err != nil || len(names) != 1 {
		t.Errorf("the directory has %v, %v", names, err)
	}
	s.want("1 is held", sup.Held(1), true)
}
