package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

var w0 = time.Now()

func (w *world) now() time.Time { return time.Now() }

func (w *world) events() (list []Event) {
	w.Helper()
	list, err := w.Events()
	if err != nil {
		w.Fatal(err)
	}
	return list
}

// said is events in short.
func said(list []Event) string {
	var s []string
	for _, e := range list {
		s = append(s, fmt.Sprintf("%d %v", e.Kind, e.Subject))
	}
	return strings.Join(s, ", ")
}

func TestEventsOfALife(t *testing.T) {
	w := newWorld(t, small)
	sup, err := w.JoinSupervisor(ctx, w.witness, w.who())
	if err != nil {
		t.Fatal(err)
	}
	sup.Say(Began)
	a, b := w.join(), w.join()
	w.create(a, 70)
	w.die(a)
	w.reclaim(sup, a)
	w.leave(b)
	if err := sup.Close(ctx); err != nil {
		t.Fatal(err)
	}
	list := w.events()
	want := fmt.Sprintf("%d 0/1, %d 1/1, %d 2/1, %d 1/1, %d 2/1, %d 0/1", Began, Joined, Joined, Died, Left, Ending)
	if said(list) != want {
		t.Fatalf("events %s, want %s", said(list), want)
	}
	if d := list[3]; d.Actor != sup.peer() || d.Pid != a.who.Pid || d.Application != a.who.Application || d.Count != 1 || d.Bytes != 70 {
		t.Errorf("the death says %+v", d)
	}
}

// TestEventsKeepTheLatest: the ring goes round, and has the last 1024 in order.
func TestEventsKeepTheLatest(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	for range 3 * eventsKept {
		m.Say(Adopted)
	}
	list := w.events()
	if len(list) != eventsKept || list[0].Number != 2*eventsKept+1 || list[len(list)-1].Number != 3*eventsKept {
		t.Errorf("%d events, the first is %d", len(list), list[0].Number)
	}
}

// TestEventHalfWritten: an event whose writer died at some store is skipped, and the others are there.
func TestEventHalfWritten(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	for range 5 {
		m.Say(Adopted)
	}
	for name, garble := range map[string]func(r *eventRow){
		"unsealed":     func(r *eventRow) { r.seal.Store(0) },
		"another time": func(r *eventRow) { r.time.Add(1) },
		"another name": func(r *eventRow) { r.application[2].Store(7) },
		"a kind":       func(r *eventRow) { r.kind.Store(200) },
	} {
		whole := slices.Clone(w.bytes)
		garble(&w.ring[2])
		if list := w.events(); len(list) != 5 || slices.ContainsFunc(list, func(e Event) bool { return e.Number == 2 }) {
			t.Errorf("%s: %s", name, said(list))
		}
		copy(w.bytes, whole)
	}
	w.header.events.Store(1<<64 - 1) // a stray store
	m.Say(Ending)
	m.Say(Ending)
	if list := w.events(); len(list) < 6 {
		t.Errorf("after the count was hit: %s", said(list))
	}
}

// TestRefusalsDoNotFillTheRing: a program that is refused again and again is told once in a second.
func TestRefusalsDoNotFillTheRing(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	for range 100 {
		m.RefusedBySystem()
	}
	list := w.events()
	n := 0
	for _, e := range list {
		if e.Kind == RefusedSystem {
			n++
		}
	}
	if n == 0 || n > 50 || w.counters().Refused.System != 100 {
		t.Errorf("%d events of %d refusals", n, w.counters().Refused.System)
	}
}

// FuzzEvents: whatever lies in the ring, reading it gives events of known kinds, in order.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("garbled"), uint64(1))
	f.Fuzz(func(t *testing.T, bytes []byte, count uint64) {
		w := newWorld(t, small)
		m := w.join()
		m.Say(Began)
		o := offsetsOf(small)
		copy(w.bytes[o.ring+eventRowSize/2:], bytes)
		w.header.events.Store(count)
		m.Say(Ending)
		list := w.events()
		for i, e := range list {
			if e.Kind < Began || e.Kind > lastEventKind || i > 0 && list[i-1].Number > e.Number {
				t.Fatalf("events %s", said(list))
			}
		}
		if !slices.ContainsFunc(list, func(e Event) bool { return e.Kind == Ending && e.Subject == (shmsync.Peer{Row: 1, Incarnation: 1}) }) {
			t.Fatalf("the last event is missing: %s", said(list))
		}
	})
}
