package control

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/godsm/godsm/shm"
)

// fileWitness is the fakeWitness of one members file, which is in force as long as the books name it.
type fileWitness struct {
	*fakeWitness
	t             *Table
	ino           uint64
	before, after func() // are called when it is asked whether it is in force, around the look at the books
}

func (f *fileWitness) Held(row int) bool { return f.fakeWitness.Held(row) || !f.named() }

func (f *fileWitness) named() bool {
	ino, err := f.t.Members()
	return err == nil && ino == f.ino
}

func (f *fileWitness) InForce() bool {
	once := func(call *func()) {
		if c := *call; c != nil {
			*call = nil
			c()
		}
	}
	once(&f.before)
	is := f.named()
	once(&f.after)
	return is
}

// succession is a world in which a members file, the old one, has a successor.
type succession struct {
	*world
	next *fakeWitness
	sup  *Member
}

const nextIno = 77

func newSuccession(t *testing.T, l Limits) *succession {
	t.Helper()
	s := &succession{world: newWorld(t, l), next: &fakeWitness{held: map[int]bool{}}}
	var err error
	if s.sup, err = s.JoinSupervisor(ctx, s.oldFile(), s.who()); err != nil {
		t.Fatal(err)
	}
	_, _ = s.next.Take(SupervisorRow)
	return s
}

func (s *succession) oldFile() *fileWitness {
	return &fileWitness{fakeWitness: s.witness, t: s.Table, ino: s.MembersIno}
}

func (s *succession) nextFile() *fileWitness {
	return &fileWitness{fakeWitness: s.next, t: s.Table, ino: nextIno}
}

// succeed puts the successor in force, unless a session has not followed yet.
func (s *succession) succeed() (behind []int) {
	s.Helper()
	behind, err := s.sup.Succeed(ctx, nextIno, func(row int) bool { return !s.witness.Held(row) || s.next.Held(row) })
	if err != nil {
		s.Fatal(err)
	}
	return behind
}

// TestSucceedWaitsForTheLiving: a successor comes in force when all living members hold their witness in it, and stays
// so.
func TestSucceedWaitsForTheLiving(t *testing.T) {
	s := newSuccession(t, small)
	a, b, dead := s.join(), s.join(), s.join()
	s.die(dead)
	want := func(ino uint64, behind ...int) {
		t.Helper()
		if got := s.succeed(); !slices.Equal(got, behind) {
			t.Errorf("behind are %v, want %v", got, behind)
		}
		if is, err := s.Members(); is != ino || err != nil {
			t.Errorf("the file in force is %d, %v, want %d", is, err, ino)
		}
	}
	want(s.MembersIno, a.Row(), b.Row())
	_, _ = s.next.Take(a.Row())
	want(s.MembersIno, b.Row())
	_, _ = s.next.Take(b.Row())
	want(nextIno)
	s.header.members.Store(99) // a stray store
	if err := s.sup.Retry(ctx); err != nil {
		t.Fatal(err)
	}
	want(nextIno)
}

// TestSupervisorThatComesDuringASuccession: a supervisor opens the books before a session puts another members file in
// force, and takes its row after that, or before. Its Retry restores the file that is in force, not the one it knew
// first.
func TestSupervisorThatComesDuringASuccession(t *testing.T) {
	for _, before := range []bool{false, true} {
		t.Run(fmt.Sprintf("joins before %v", before), func(t *testing.T) {
			s := &succession{world: newWorld(t, small), next: &fakeWitness{held: map[int]bool{}}}
			session := s.join()
			_, _ = s.next.Take(session.Row())
			books, err := Open(shm.NewRegion(s.bytes))
			if err != nil {
				t.Fatal(err)
			}
			join := func(w *fileWitness) *Member {
				m, err := books.JoinSupervisor(ctx, w, s.who())
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			moved := func(row int) bool { return !s.witness.Held(row) || s.next.Held(row) }
			want := uint64(nextIno)
			var m *Member
			if before { // with the old file still: the successor is its own business from here on
				m, want = join(s.oldFile()), s.MembersIno
				_, _ = s.next.Take(SupervisorRow)
			}
			if _, err := session.Succeed(ctx, nextIno, moved); err != nil {
				t.Fatal(err)
			}
			if m == nil {
				m = join(s.nextFile())
			}
			if err := m.Retry(ctx); err != nil {
				t.Fatal(err)
			}
			if ino, err := s.Members(); ino != want || err != nil {
				t.Errorf("the file in force is %d, %v, want %d", ino, err, want)
			}
		})
	}
}

// TestJoinWithAnOldMembersFile: a newcomer that opened the members file before another one came in force is told so, at
// whatever step that happens, and no session loses its row to it. While it has the byte of a dead session's row, no
// successor is put in force.
func TestJoinWithAnOldMembersFile(t *testing.T) {
	for _, when := range []string{"before", "before the look", "after the look"} {
		for _, another := range []bool{false, true} {
			for _, overDead := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/another joins %v/over the dead %v", when, another, overDead), func(t *testing.T) {
					s := newSuccession(t, Limits{Processes: 1, Segments: 8})
					if overDead {
						dead := s.join()
						s.create(dead, 100)
						s.die(dead)
					}
					var other *Member
					blocked := false
					come := func() {
						if blocked = len(s.succeed()) > 0; blocked || !another {
							return
						}
						var err error
						if other, err = s.Join(ctx, s.nextFile(), s.who()); err != nil {
							t.Error(err)
						}
					}
					w := s.oldFile()
					switch when {
					case "before":
						come()
					case "before the look":
						w.before = come
					case "after the look":
						w.after = come
					}
					m, err := s.Join(ctx, w, s.who())
					if blocked != (overDead && when != "before") {
						t.Errorf("a successor is held up: %v", blocked)
					}
					if blocked {
						if err != nil {
							t.Fatal(err)
						}
						s.create(m, 100)
						return
					}
					if m != nil || !errors.Is(err, ErrStale) && !errors.Is(err, ErrTooManyProcesses) {
						t.Fatalf("Join = %v, %v", m, err)
					}
					if s.witness.Held(1) {
						t.Error("it has kept the row's byte")
					}
					if !another {
						if other, err = s.Join(ctx, s.nextFile(), s.who()); err != nil {
							t.Fatal(err)
						}
					}
					e := s.create(other, 100)
					if rows := len(s.owed(other)); overDead && rows != 1 || !overDead && rows != 0 {
						t.Errorf("%d segments of the dead one's are to be removed", rows)
					}
					if found := s.find(e.Handle); !slices.Equal(found.Holders, []int{1}) {
						t.Errorf("%+v", found)
					}
				})
			}
		}
	}
}
