package shared

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/batch"
)

// A Queue is a queue as one session has it open. Its methods may be called by any number of goroutines.
type Queue[Cmd, Res any] struct {
	m        *memory
	own      *own
	options  Options
	commands Codec[Cmd]
	results  Codec[Res]
	start    func(*leader[Cmd, Res]) *batch.Engine[item[Cmd], Res]
	driver   Driver[Cmd, Res]
	split    func(answer Res, cmds []Cmd, results []Res) bool
	written  func([]Cmd)
	buffers  sync.Pool

	ctx    context.Context // of the steward
	cancel context.CancelFunc
	ended  chan struct{} // closed when the steward has ended
	over   atomic.Bool   // Close has given up, or the session has ended
	unhook func()
	leads  atomic.Bool
}

// Driver returns a driver when the process begins to lead; the queue closes it. It must be a batch.Fenced.
type Driver[Cmd, Res any] func() (batch.Driver[Cmd, Res], error)

// takeSeat takes the session's seat. A leader that had the row before is dead.
func (q *Queue[Cmd, Res]) takeSeat() error {
	m := q.m
	seat := &m.seats[m.self.Row]
	if seat.incarnation.Load() != m.self.Incarnation {
		if w := leadWord(m.head.lead.Load()); w.row() == m.self.Row {
			m.head.lead.CompareAndSwap(uint64(w), uint64(leads(w.epoch(), -1)))
		}
		seat.leads.Store(0)
		seat.incarnation.Store(m.self.Incarnation)
	}
	return nil
}

// Leads reports whether this process leads.
func (q *Queue[Cmd, Res]) Leads() bool { return q.leads.Load() }

// Close lets no more commands in, and waits until those of this session have their outcomes; if it leads, it resigns then,
// when the flush under way has ended. If the context ends first, commands that no leader has taken are withdrawn, and the
// others end with an error that says Maybe. Other sessions go on. A second Close waits for the first.
func (q *Queue[Cmd, Res]) Close(ctx context.Context) (err error) {
	if q.m == nil { // the zero Queue
		return errClosed
	}
	q.own.close()
	told := time.Now()
	for bit := q.m.self.Mailbox.Take(); ; {
		if n := q.own.inUse(); n == 0 || q.over.Load() {
			bit.Release()
			break
		} else if wait, cancel := context.WithTimeout(ctx, closeLook); ctx.Err() != nil {
			cancel()
			bit.Release()
			err = fmt.Errorf("batch/shared: closed before %d commands had their outcomes: %w", n, context.Cause(ctx))
			break
		} else {
			_ = bit.Wait(wait)
			cancel()
			if time.Since(told) > time.Second {
				told = time.Now()
				q.options.Logger.Info("waits for the outcomes of commands", "queue", q.m.name, "commands", n)
			}
		}
	}
	q.over.Store(true)
	q.cancel()
	q.m.self.Mailbox.Nudge()
	<-q.ended
	q.unhook()
	q.own.abandon()
	q.m.open.Store(false)
	return err
}

// Do hands in a command and waits for its outcome. It blocks while there is no room, unless Options.Full is Fail. If the
// context ends first, Do returns a [batch.Error] that reports whether the command may still be executed. Any error is a
// *batch.Error; that of another process has its text, and its kind for errors.Is where it is one of package batch.
func (q *Queue[Cmd, Res]) Do(ctx context.Context, cmd Cmd) (res Res, err error) {
	at, err := q.fillFreeSlot(ctx, cmd)
	if err != nil {
		return res, &batch.Error{Err: err}
	}
	return q.awaitDone(ctx, at.slot, at.bit)
}

// stewardPause is between a steward that has been ended and the next one.
const stewardPause = 100 * time.Millisecond

// keepSteward runs steward after a pause, and once more if a function of the program has ended its goroutine
// (runtime.Goexit). It may do so each time: so the pause.
func (q *Queue[Cmd, Res]) keepSteward(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.ctx.Done():
	}
	returned := false
	defer func() {
		if !returned {
			go q.keepSteward(stewardPause)
			return
		}
		close(q.ended)
	}()
	q.steward()
	returned = true
}

// steward leads whenever that is this session's turn, until the queue is closed.
func (q *Queue[Cmd, Res]) steward() {
	bit := q.m.self.Mailbox.Take()
	defer bit.Release()
	seat := &q.m.seats[q.m.self.Row]
	_ = q.m.contained(func() error { seat.bit.Store(bit.Number()); seat.leads.Store(1); return nil })
	defer func() { _ = q.m.contained(func() error { seat.leads.Store(0); return nil }) }()
	var seen struct {
		word, beat uint64
		at         time.Time
	}
	for q.ctx.Err() == nil {
		vacant, why := false, ""
		if q.m.contained(func() error {
			h := q.m.head
			word, beat := h.lead.Load(), h.beat.Load()
			if word != seen.word || beat != seen.beat || seen.at.IsZero() {
				seen.word, seen.beat, seen.at = word, beat, time.Now()
			}
			_, _, ok := q.m.leader()
			switch {
			case !ok:
				vacant, why = true, "no session led"
			case time.Since(seen.at) > q.options.Lease && q.m.waiting():
				vacant, why = true, "the leader has not beaten"
			}
			return nil
		}) != nil {
			return
		}
		if vacant {
			q.lead(bit, seen.word, why)
			continue
		}
		wait, cancel := context.WithTimeout(q.ctx, min(time.Second, q.options.Lease/5))
		_ = bit.Wait(wait)
		cancel()
	}
}

type streamKey struct{}

var streams atomic.Uint64

// Ordered returns a context whose commands keep the order in which one process hands them in, whatever their keys are.
func Ordered(ctx context.Context) context.Context {
	return context.WithValue(ctx, streamKey{}, streams.Add(1))
}
