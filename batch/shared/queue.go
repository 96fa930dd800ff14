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

type streamKey struct{}

var streams atomic.Uint64

// Ordered returns a context whose commands keep the order in which one process hands them in, whatever their keys are.
func Ordered(ctx context.Context) context.Context {
	return context.WithValue(ctx, streamKey{}, streams.Add(1))
}
