package shared

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
)

func TestSessionsShareALeader(t *testing.T) {
	w := newWorld(t, Options{Slots: 256})
	qs := []*Queue[command, uint64]{w.open(1, nil), w.open(2, &journal{path: w.path}), w.open(3, &journal{path: w.path})}
	var wg sync.WaitGroup
	for i, q := range qs {
		for caller := range 20 {
			wg.Go(func() {
				for n := range 20 {
					id := uint64(i*1000000 + caller*1000 + n + 1)
					if n%10 == 3 {
						id |= refused
					}
					if n%10 == 5 {
						id |= reads
					}
					key := uint64(caller + 1)
					if id&reads != 0 {
						key = id // reads of one key share an answer, and here that has the command's number
					}
					res, err := q.Do(ctx, command{id: id, key: key, add: 5})
					switch {
					case id&refused != 0:
						if err == nil || batch.ExecutedOf(err) != batch.No || err.Error() != "batch: "+errRefused.Error() {
							t.Errorf("a bad command ended with %v", err)
						}
					case err != nil || res != id+5:
						t.Errorf("%d: %d, %v", id, res, err)
					}
				}
			})
		}
	}
	wg.Wait()
	times := executions(t, w.path)
	if len(times) != 3*20*16 {
		t.Errorf("%d commands were executed", len(times))
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%d was executed %d times", id, n)
		}
	}
	closed(t, qs...)
	idle(t, w)
}

// idle checks that no slot is in use and no block has an owner.
func idle(t *testing.T, w *world) {
	t.Helper()
	m := w.memory(7)
	for i := range m.slots {
		if s := m.slots[i].load().state(); s != free {
			t.Errorf("slot %d is %v", i, s)
		}
	}
	for i := range m.blocks {
		if p := peerOf(m.blocks[i].owner.Load()); p.Row >= 0 {
			t.Errorf("block %d belongs to %v", i, p)
		}
	}
}

// hang makes a journal wait at a step, and returns how to let it go on.
func (j *journal) hang(op string) (reached chan struct{}, release func()) {
	reached, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	j.mu.Lock()
	j.fail = func(at string) error {
		if at == op {
			once.Do(func() { close(reached) })
			<-gate
		}
		return nil
	}
	j.mu.Unlock()
	return reached, sync.OnceFunc(func() { close(gate) })
}

func TestStoppedLeaderIsDeposedAndCommitsNothing(t *testing.T) {
	for _, op := range []string{"begin", "run", "commit", "committed"} {
		t.Run(op, func(t *testing.T) {
			w := newWorld(t, Options{Slots: 64, Lease: 50 * time.Millisecond})
			first := &journal{path: w.path}
			old := w.open(1, first)
			if _, err := old.Do(ctx, command{id: 1}); err != nil {
				t.Fatal(err)
			}
			reached, release := first.hang(op)
			defer release()
			caller := w.open(3, nil)
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					id := uint64(100 + i)
					if res, err := caller.Do(ctx, command{id: id, add: 1}); err != nil || res != id+1 {
						t.Errorf("%d: %v", res, err)
					}
				})
			}
			<-reached
			stopBeats(w) // as if all of its process had been stopped
			next := w.open(2, &journal{path: w.path})
			wg.Wait()
			if op == "committed" {
				if s, err := next.Stats(); err != nil || s.Settled == 0 {
					t.Errorf("%+v, %v", s, err)
				}
			}
			release()
			for id, n := range executions(t, w.path) {
				if n != 1 {
					t.Errorf("%d was executed %d times", id, n)
				}
			}
			if _, err := old.Do(ctx, command{id: 2}); err != nil {
				t.Error(err)
			}
			closed(t, caller, next, old)
			idle(t, w)
		})
	}
}

// stopBeats has the session of row 1 beat no more until it is deposed: its word of the leader is not the one it beats for.
func stopBeats(w *world) {
	m := w.memory(6)
	h := m.head
	lead := leadWord(h.lead.Load())
	h.lead.Store(uint64(leads(lead.epoch(), 5))) // a session that lives and does nothing
}

func TestDeadSessionsLeaveNothing(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep=", keep), func(t *testing.T) {
			w := newWorld(t, Options{Slots: 64, Keep: keep})
			dying := w.open(1, nil)
			for i := range 5 {
				dying.Submit(ctx, command{id: uint64(1 + i)}) // no session leads yet
			}
			m := w.memory(6)
			m.slots[50].word.Store(uint64(use(taken, 9))) // half written
			w.die(1)
			q := w.open(2, &journal{path: w.path})
			if _, err := q.Do(ctx, command{id: 100}); err != nil {
				t.Fatal(err)
			}
			for m.blocks[1].owner.Load(); peerOf(m.blocks[1].owner.Load()).Row >= 0; {
				time.Sleep(time.Millisecond)
			}
			want := 1
			if keep {
				want = 6
			}
			if times := executions(t, w.path); len(times) != want {
				t.Errorf("executed: %v", times)
			}
			closed(t, q)
			idle(t, w)
		})
	}
}

func TestContextWithdrawsWhatIsNotTaken(t *testing.T) {
	w := newWorld(t, Options{Slots: 64})
	j := &journal{path: w.path}
	q := w.open(1, j)
	reached, release := j.hang("run")
	taken := q.Submit(ctx, command{id: 1})
	<-reached
	short, cancel := context.WithCancel(ctx)
	waits := q.Submit(short, command{id: 2})
	left := make(chan error)
	go func() { _, err := q.awaitDone(short, 0, q.m.self.Mailbox.Take()); left <- err }()
	cancel()
	if _, err := waits.Wait(ctx); batch.ExecutedOf(err) != batch.No || !errors.Is(err, context.Canceled) {
		t.Errorf("a command that was not taken: %v", err)
	}
	<-left
	release()
	if _, err := taken.Wait(ctx); err != nil && batch.ExecutedOf(err) != batch.Maybe {
		t.Error(err)
	}
	if _, err := q.Do(ctx, command{id: 3}); err != nil {
		t.Error(err)
	}
	if times := executions(t, w.path); times[1] != 1 || times[2] != 0 || times[3] != 1 {
		t.Errorf("executed: %v", times)
	}
	closed(t, q)
}

func TestFullQueueBlocksOrFails(t *testing.T) {
	for _, full := range []batch.Full{batch.Block, batch.Fail} {
		w := newWorld(t, Options{Slots: 64, Full: full})
		q := w.open(1, nil)
		var all []*Future[uint64]
		for i := range 32 { // half of all
			all = append(all, q.Submit(ctx, command{id: uint64(i + 1)}))
		}
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		_, err := q.Do(short, command{id: 100})
		cancel()
		if want := map[batch.Full]error{batch.Block: context.DeadlineExceeded, batch.Fail: batch.ErrFull}[full]; !errors.Is(err, want) ||
			batch.ExecutedOf(err) != batch.No {
			t.Errorf("a full queue: %v", err)
		}
		waiting := make(chan error, 1)
		if full == batch.Block {
			go func() { _, err := q.Do(ctx, command{id: 101}); waiting <- err }()
		} else {
			waiting <- nil
		}
		leader := w.open(2, &journal{path: w.path})
		for _, f := range all {
			if _, err := f.Wait(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		closed(t, q, leader)
		if _, err := q.Do(ctx, command{id: 1000}); !errors.Is(err, batch.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		idle(t, w)
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	w := newWorld(t, Options{Slots: 64})
	q := w.open(1, nil)
	f := q.Submit(ctx, command{id: 1})
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := q.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if _, err := f.Wait(ctx); !errors.Is(err, batch.ErrClosed) || batch.ExecutedOf(err) != batch.No {
		t.Errorf("a command that nobody has taken: %v", err)
	}
	again := w.open(1, &journal{path: w.path})
	if _, err := again.Do(ctx, command{id: 2}); err != nil {
		t.Error(err)
	}
	closed(t, again)
}

func TestLostCommitsAreSettled(t *testing.T) {
	w := newWorld(t, Options{Slots: 64})
	j := &journal{path: w.path}
	n := 0
	j.fail = func(op string) error {
		if n++; (op == "commit" || op == "committed") && n%7 < 3 {
			return errLost
		}
		if op == "settle" && n%5 == 0 {
			return errLost
		}
		return nil
	}
	q := w.open(1, j)
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if _, err := q.Do(ctx, command{id: uint64(caller*1000 + i + 1)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	closed(t, q)
	times := executions(t, w.path)
	for id, n := range times {
		if n != 1 {
			t.Errorf("%d was executed %d times", id, n)
		}
	}
	if len(times) != 400 {
		t.Errorf("%d commands", len(times))
	}
}

func TestBadSizesAreRefused(t *testing.T) {
	for _, o := range []Options{{Slots: 63}, {Slots: 1 << 20}, {Command: 3}, {Result: 8}, {Slots: -64}} {
		if _, err := o.withDefaults().shape(); err == nil {
			t.Errorf("%+v", o)
		}
	}
	w := newWorld(t, Options{Slots: 64, Command: 16})
	q := w.open(1, nil)
	if _, err := q.Do(ctx, command{}); !errors.Is(err, ErrSize) {
		t.Errorf("a command of 24 bytes in 16: %v", err)
	}
	closed(t, q)
}
