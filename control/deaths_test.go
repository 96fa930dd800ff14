package control

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

func (m *Member) peer() shmsync.Peer { return m.asPeer() }

func (w *world) deaths() *Deaths {
	w.Helper()
	d, err := w.Deaths()
	if err != nil {
		w.Fatal(err)
	}
	return d
}

func (w *world) wantDeaths(about string, d *Deaths, want ...shmsync.Peer) {
	w.Helper()
	got, err := d.Next()
	if err != nil || !slices.Equal(got, want) {
		w.Errorf("%s: died %v, %v; want %v", about, got, err, want)
	}
}

func (w *world) leave(m *Member) {
	w.Helper()
	if done, err := m.Leave(ctx); !done || err != nil {
		w.Fatalf("Leave = %v, %v", done, err)
	}
	w.die(m)
}

func TestDeathsAreToldOnceAndCloseIsNone(t *testing.T) {
	w := newWorld(t, small)
	sup, _ := w.JoinSupervisor(ctx, w.witness, w.who())
	early := w.deaths()
	a, b, c := w.join(), w.join(), w.join()
	w.die(a)
	w.reclaim(sup, a)
	late := w.deaths()
	w.leave(b)
	w.die(c)
	w.reclaim(sup, c)
	w.wantDeaths("early", early, a.peer(), c.peer())
	w.wantDeaths("early again", early)
	w.wantDeaths("late", late, c.peer())
}

// TestDeathOfSupervisorIsNoSessions: sessions tell of each other.
func TestDeathOfSupervisorIsNoSessions(t *testing.T) {
	w := newWorld(t, small)
	sup, _ := w.JoinSupervisor(ctx, w.witness, w.who())
	d, reclaims := w.deaths(), w.Reclaims()
	w.die(sup)
	if _, err := w.JoinSupervisor(ctx, w.witness, w.who()); err != nil {
		t.Fatal(err)
	}
	w.wantDeaths("after it", d)
	if w.Reclaims() != reclaims+1 {
		t.Error("the death is not counted")
	}
}

func TestDeathsOfThoseJoinedOver(t *testing.T) {
	w := newWorld(t, Limits{Processes: 2, Segments: 4})
	by, a := w.join(), w.join()
	d := w.deaths()
	w.die(a)
	over := w.join()
	if over.row != a.row {
		t.Fatal("not over the dead one")
	}
	w.wantDeaths("joined over", d, a.peer())
	w.die(over)
	// A newcomer that dies before its first section has buried no process.
	p := &w.processes[over.row].word
	p.Store(usedWord(over.incarnation + 1))
	if done, err := by.Reclaim(ctx, over.row, over.incarnation+1); !done || err != nil {
		t.Fatal(done, err)
	}
	w.wantDeaths("the newcomer died too", d, over.peer(), shmsync.Peer{Row: over.row, Incarnation: over.incarnation + 1})
}

// TestDeathsBuriedByOneThatDies lays out what each step of bury leaves.
func TestDeathsBuriedByOneThatDies(t *testing.T) {
	for _, at := range []string{"written", "counted", "ended"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t, small)
			by, a := w.join(), w.join()
			d, n := w.deaths(), w.Reclaims()
			w.die(a)
			w.log[n%deathsKept].Store(w.deathEntry(a.peer(), n))
			if at != "written" {
				w.header.reclaims.Store(n + 1)
			}
			if at == "ended" {
				w.ended[a.row].Store(a.incarnation)
			}
			w.reclaim(by, a)
			w.wantDeaths("after both", d, a.peer())
			if w.Reclaims() != n+1 {
				t.Errorf("counted %d deaths", w.Reclaims()-n)
			}
		})
	}
}

func TestDeathsMoreThanAreKept(t *testing.T) {
	w := newWorld(t, small)
	by := w.join()
	d := w.deaths()
	var want []shmsync.Peer
	for range deathsKept + 10 {
		m := w.join()
		w.die(m)
		w.reclaim(by, m)
		want = append(want, m.peer())
	}
	got, err := d.Next()
	if err != nil || !slices.Equal(got, want[len(want)-deathsKept:]) {
		t.Errorf("%d deaths, %v; want the latest %d of the row", len(got), err, deathsKept)
	}
	w.wantDeaths("then", d)
	m := w.join()
	w.die(m)
	w.reclaim(by, m)
	w.wantDeaths("the next", d, m.peer())
}

func TestDeathsInAGarbledLog(t *testing.T) {
	for name, garble := range map[string]func(w *world){
		"entry":      func(w *world) { w.log[(w.Reclaims()-1)%deathsKept].Add(1 << 50) },
		"entry's 0":  func(w *world) { w.log[(w.Reclaims()-1)%deathsKept].Store(0) },
		"count":      func(w *world) { w.header.reclaims.Add(77) },
		"count back": func(w *world) { w.header.reclaims.Store(0) },
		"all": func(w *world) {
			for i := range w.log {
				w.log[i].Store(1<<64 - 1)
			}
			w.header.reclaims.Store(1 << 31)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, small)
			by, first := w.join(), w.join()
			w.die(first)
			w.reclaim(by, first)
			d := w.deaths()
			a := w.join()
			w.die(a)
			w.reclaim(by, a)
			garble(w)
			if got, err := d.Next(); err != nil || !slices.Contains(got, a.peer()) || len(got) > deathsKept {
				t.Errorf("died %v, %v; want %v in it", got, err, a.peer())
			}
			b := w.join()
			w.die(b)
			w.reclaim(by, b)
			w.wantDeaths("the next", d, b.peer())
		})
	}
}

func TestGarbledEndDoesNotHoldUpABurial(t *testing.T) {
	for _, ended := range []uint32{1 << 31, 1<<32 - 1, 5000} {
		t.Run(fmt.Sprint(ended), func(t *testing.T) {
			w := newWorld(t, small)
			by, a := w.join(), w.join()
			d := w.deaths()
			w.ended[a.row].Store(ended)
			w.die(a)
			w.reclaim(by, a)
			got, err := d.Next()
			if err != nil || !slices.Contains(got, a.peer()) || len(got) > maxUnburied {
				t.Errorf("died %v, %v", got, err)
			}
		})
	}
}

func TestThoseWhoWantDeathsAreTold(t *testing.T) {
	w := newWorld(t, small)
	by, wants, not, a := w.join(), w.join(), w.join(), w.join()
	if err := wants.Want(true); err != nil {
		t.Fatal(err)
	}
	w.die(a)
	w.reclaim(by, a)
	if n, err := wants.Listen(ctx, time.Minute); n != shmsync.NewsDeath || err != nil {
		t.Errorf("told of %d, %v", n, err)
	}
	if n, err := not.Listen(ctx, 0); n != 0 || err != nil {
		t.Errorf("told of %d, %v, and wanted nothing", n, err)
	}
}

// TestHolderNamedByAStrayStoreIsAsked: a member that waits for a lock has the one that its word names look whether it
// holds it.
func TestHolderNamedByAStrayStoreIsAsked(t *testing.T) {
	w := newWorld(t, small)
	innocent, other := w.join(), w.join()
	w.garbleLock(uint32(innocent.row+1)<<20 | innocent.incarnation)
	done := make(chan error)
	go func() { _, err := other.Create(ctx, 1, time.Now()); done <- err }()
	for news := shmsync.News(0); news&shmsync.NewsAsk == 0; {
		var err error
		if news, err = innocent.Listen(ctx, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := innocent.Disavow(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
