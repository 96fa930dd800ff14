package control

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/google/uuid"
)

// fakeWitness is the witness of all processes of a test; a row is dropped to let its process die.
type fakeWitness struct {
	mu   sync.Mutex
	held map[int]bool
}

func (f *fakeWitness) Take(row int) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	free := !f.held[row]
	f.held[row] = true
	return free, nil
}

func (f *fakeWitness) Drop(row int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, row)
	return nil
}

func (f *fakeWitness) Held(row int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[row]
}

type world struct {
	*testing.T
	*Table
	witness *fakeWitness
	bytes   []byte
	pids    int
}

func newWorld(t *testing.T, l Limits) *world {
	t.Helper()
	b := make([]byte, Size(l))
	c := Constants{
		Instance: uuid.New(), Generation: 7, Backend: "posix", Dir: "/some/where",
		MembersDev: 1, MembersIno: 2, Limits: l,
	}
	if err := Format(shm.NewRegion(b), c); err != nil {
		t.Fatal(err)
	}
	table, err := Open(shm.NewRegion(b))
	if err != nil {
		t.Fatal(err)
	}
	if table.Constants != c {
		t.Fatalf("constants came back as %+v, want %+v", table.Constants, c)
	}
	return &world{T: t, Table: table, witness: &fakeWitness{held: map[int]bool{}}, bytes: b}
}

func (w *world) who() Who {
	w.pids++
	return Who{Pid: w.pids, Application: fmt.Sprintf("app %d", w.pids), Since: time.Now()}
}

func (w *world) join() *Member {
	w.Helper()
	m, err := w.Join(ctx, w.witness, w.who())
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// die ends a member as a kill would.
func (w *world) die(m *Member) { _ = w.witness.Drop(m.Row()) }

func (w *world) create(m *Member, size int) Entry {
	w.Helper()
	e, err := m.Create(ctx, size, time.Now())
	if err == nil {
		err = m.Created(ctx, e, 0)
	}
	if err != nil {
		w.Fatal(err)
	}
	return e
}

func (w *world) reclaim(by, dead *Member) {
	w.Helper()
	if done, err := by.Reclaim(ctx, dead.Row(), dead.Incarnation()); !done || err != nil {
		w.Fatalf("Reclaim = %v, %v", done, err)
	}
}

func (w *world) owed(m *Member) []Entry {
	w.Helper()
	entries, err := m.Owed(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return entries
}

func (w *world) find(handle uint64) SegmentInfo {
	w.Helper()
	list, err := w.Segments()
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range list {
		if s.Handle == handle {
			return s
		}
	}
	return SegmentInfo{}
}

func (w *world) wantEmpty() {
	w.Helper()
	list, _ := w.Segments()
	rows, bytes, _ := w.Used()
	if len(list) != 0 || rows != 0 || bytes != 0 {
		w.Errorf("%d rows listed, %d counted, %d bytes: want none", len(list), rows, bytes)
	}
}

var small = Limits{Processes: 70, Segments: 8}
