package control

import (
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// What fuzzing and the live corrupter found, one by one.

// garbleLock stores a word where the control lock is.
func (w *world) garbleLock(word uint32) {
	f, _ := reflect.TypeFor[header]().FieldByName("lock")
	binary.NativeEndian.PutUint32(w.bytes[f.Offset:], word)
}

// TestLockOfNobody: a lock word that has an incarnation and no row.
func TestLockOfNobody(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	w.garbleLock(5)
	if p, held, err := w.LockHolder(); held || err != nil {
		t.Errorf("LockHolder = %+v, %v, %v", p, held, err)
	}
	w.create(m, 1)
}

// TestLockGarbledToSelf: a lock word that names a living member, which does not hold the lock, stops the others
// only until that member comes by.
func TestLockGarbledToSelf(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	w.garbleLock(uint32(a.Row()+1)<<20 | a.Incarnation()&shmsync.MutexIncarnationMask)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := b.Create(short, 1, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Create beside one who seems to hold the lock = %v", err)
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := a.Create(bounded, 1, time.Now()); err != nil {
		t.Errorf("Create by the one who seems to hold the lock = %v", err)
	}
	w.create(b, 1)
}

// TestFreeHint: any value will do, on 32 bits too.
func TestFreeHint(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	for _, hint := range []uint32{8, 1 << 31, 1<<31 + 5, ^uint32(0)} {
		w.header.freeHint.Store(hint)
		w.create(m, 1)
	}
}

// TestGarbledPin: a pin that is invalid is no pin when the last one leaves.
func TestGarbledPin(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	e := w.create(a, 1)
	w.segments[e.row()].pin.Store(9)
	if _, err := b.Ref(ctx, e.Handle); !errors.Is(err, ErrCorrupt) ||
		!strings.Contains(err.Error(), "the pin of row 0") {
		t.Errorf("Ref = %v", err)
	}
	if last, err := a.Unref(ctx, e); !last || err != nil {
		t.Errorf("Unref = %v, %v", last, err)
	}
}

// TestGarbledProcessRow: the member learns which row it is.
func TestGarbledProcessRow(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	w.processes[m.row].word.Store(usedWord(m.incarnation) | 1<<50)
	if _, err := m.Create(ctx, 1, time.Now()); !errors.Is(err, ErrCorrupt) ||
		!strings.Contains(err.Error(), "process row 1") {
		t.Errorf("Create = %v", err)
	}
}

// TestRetryMakesGood: what no process would ever give back or count right goes with the next Retry, which the
// supervisor calls now and then.
func TestRetryMakesGood(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *world, e Entry)
		gone bool // the segment, which m holds, goes
	}{
		{"a bit of a row that nobody uses", func(w *world, e Entry) { w.setBitLocked(e.row(), 60) }, false},
		{"a bit of no row", func(w *world, e Entry) { w.bits[e.row()*w.wordsPer+1].Or(1 << 63) }, false},
		{"the counters", func(w *world, e Entry) {
			w.header.usedBytes.Store(1 << 60)
			w.header.usedRows.Store(77)
			w.processes[1].bytes.Store(1 << 60)
			w.processes[1].segments.Store(1000)
		}, false},
		{"the state", func(w *world, e Entry) { w.segments[e.row()].word.Store(0x42) }, true},
		{"the holder's bit", func(w *world, e Entry) { w.clearBitsLocked(e.row()) }, true},
		{"the agent", func(w *world, e Entry) { w.segments[e.row()].word.Store(segmentWord(Destroying, 44, 1)) }, true},
		{"the process row", func(w *world, e Entry) { w.processes[1].word.Store(7) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Limits{
				Processes: 70, Segments: 8, Memory: 1000, MemoryPerProcess: 1000, SegmentsPerProcess: 10,
			})
			m, other := w.join(), w.join()
			e := w.create(m, 10)
			c.do(w, e)
			if err := other.Retry(ctx); err != nil {
				t.Fatal(err)
			}
			owed := w.owed(other)
			if c.gone != (len(owed) == 1 && owed[0].Handle == e.Handle) {
				t.Fatalf("owed: %v", owed)
			}
			if c.gone {
				_ = other.Destroyed(ctx, e)
				w.wantEmpty()
				return
			}
			if rows, bytes, _ := w.Used(); rows != 1 || bytes != 10 {
				t.Errorf("%d rows, %d bytes", rows, bytes)
			}
			if s := w.find(e.Handle); len(s.Holders) != 1 {
				t.Errorf("holders %v", s.Holders)
			}
			if last, err := m.Unref(ctx, e); !last || err != nil {
				t.Errorf("Unref = %v, %v", last, err)
			}
		})
	}
}

// TestRetryMendsHeader: the constants are known to each process that has the books open, and newcomers need them.
func TestRetryMendsHeader(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	for at := range checksumTo {
		w.bytes[at] ^= 0x10
		if _, err := Open(shm.NewRegion(w.bytes)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if err := m.Retry(ctx); err != nil {
			t.Fatal(err)
		}
		if again, err := Open(shm.NewRegion(w.bytes)); err != nil || again.Constants != w.Constants {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

func TestDisavow(t *testing.T) {
	w := newWorld(t, small)
	idle, other := w.join(), w.join()
	w.garbleLock(uint32(idle.Row()+1)<<20 | idle.Incarnation())
	if err := other.Disavow(ctx); err != nil {
		t.Fatal(err)
	}
	if p, held, _ := w.LockHolder(); !held || p.Row != idle.Row() {
		t.Errorf("another one has disavowed it: %+v, %v", p, held)
	}
	if err := idle.Disavow(ctx); err != nil {
		t.Fatal(err)
	}
	if _, held, _ := w.LockHolder(); held {
		t.Error("still held")
	}
	s, err := idle.enter(ctx, plain)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := idle.Disavow(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Disavow of a lock that is held = %v", err)
	}
	s.leaveSection(&err)
}

// TestGarbledRowEndsNothing: a row that leads to no object is not waited for when the instance ends.
func TestGarbledRowEndsNothing(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	e := w.create(m, 1)
	w.segments[e.row()].size.Add(1)
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if owed := w.owed(m); len(owed) != 0 {
		t.Errorf("owed: %v", owed)
	}
	if n, err := w.Unfinished(); n != 0 || err != nil {
		t.Errorf("%d rows are waited for, %v", n, err)
	}
	if list, _ := w.Segments(); len(list) != 1 || list[0].Sound || list[0].Errno == 0 {
		t.Errorf("listed: %+v", list)
	}
}
