package shared

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// quarrel is how many leaders may have died with a command before it is executed alone, and poison how many more then.
const (
	quarrel  = 2
	poison   = 2
	underWay = 1 << 31
)

// beatLook is how old the last look at all slots is made by a wake-up: several of them within a tenth of a second cost one.
const beatLook = 900 * time.Millisecond

// A leader is a session while it leads: one epoch.
type leader[Cmd, Res any] struct {
	q      *Queue[Cmd, Res]
	m      *memory
	bit    shmsync.Bit
	epoch  uint64
	by     uint64 // what the database has said when it began: the last epoch that has committed, and its last flush
	last   uint64
	driver batch.Driver[Cmd, Res]
	fenced batch.Fenced
	engine *batch.Engine[item[Cmd], Res]

	leaving  atomic.Bool   // it takes no more commands
	pending  atomic.Int64  // commands that the engine has
	idle     chan struct{} // receives when the engine has none any more
	looked   time.Time     // at all slots
	took     time.Duration // by the last flush
	expected atomic.Int64  // commands that will be ready again soon, as the last flushes say
	bell     bell          // rung before each transaction, and when all is answered
	taken    []item[Cmd]   // scratch, as the rest
	posts    []item[Cmd]
	claims   []claim
	buf      []byte
	result   []byte                      // scratch of the engine's worker
	teller   func(item[Cmd], Res, error) // tell: a method value is an allocation for each use

	mu     sync.Mutex // of engine, while run makes it, and of
	before [10]uint64 // what of the engine's figures is in the shared ones
}

// run takes what is ready, lets the engine execute it and answers, again and again.
func (l *leader[Cmd, Res]) run() (err error) {
	l.mu.Lock()
	l.engine = l.q.start(l)
	l.mu.Unlock()
	defer func() {
		l.leaving.Store(true)
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // all that it has was answered, or is left to the next leader
		if e := l.engine.Close(ctx); l.pending.Load() == 0 && err == nil && !errors.Is(e, context.Canceled) {
			err = e
		}
		_ = l.m.contained(func() error { l.publish(); return nil })
	}()
	if err := l.inspectSlots(); err != nil {
		return err
	}
	for l.q.ctx.Err() == nil {
		if l.isDeposed() {
			return batch.ErrDeposed
		}
		if time.Since(l.looked) >= time.Second {
			if err := l.inspectSlots(); err != nil {
				return err
			}
		}
		l.gather()
		if err := l.m.contained(l.claim); err != nil {
			return err
		}
		if len(l.taken) == 0 {
			if err := l.sleep(); err != nil {
				return err
			}
			continue
		}
		began := time.Now()
		if err := l.flush(); err != nil {
			return err
		}
		l.took = time.Since(began)
	}
	return l.q.ctx.Err()
}

// sleep waits until a command may be ready.
func (l *leader[Cmd, Res]) sleep() error {
	some := false
	if err := l.m.contained(func() error {
		l.m.head.idle.Store(1)
		failpoint.Hit("batch/lead/asleep")
		for i := range l.m.ready {
			some = some || l.m.ready[i].Load() != 0
		}
		return nil
	}); err != nil {
		return err
	}
	if !some {
		if err := l.bit.Wait(l.q.ctx); err != nil && l.q.ctx.Err() == nil {
			return err
		}
		l.looked = minTime(l.looked, time.Now().Add(-beatLook)) // a death may be why
	}
	return l.m.contained(func() error { l.m.head.idle.Store(0); return nil })
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// flush lets the engine execute what is taken, and waits until all is answered. Commands with which leaders have died come
// last, each alone.
func (l *leader[Cmd, Res]) flush() error {
	ordered := map[[2]uint64]context.Context{}
	for _, lone := range []bool{false, true} {
		l.pending.Store(1)
		var last context.Context // of what is in l.posts
		for i := range l.taken {
			it := &l.taken[i]
			if it.alone != lone {
				continue
			}
			l.pending.Add(1)
			if lone && !l.noteAlone(it) {
				l.finishSlot(*it, *new(Res), &batch.Error{Class: batch.Lost, Err: batch.ErrPoison})
				continue
			}
			ctx := context.Background()
			if it.stream != 0 {
				key := [2]uint64{it.owner, it.stream}
				if ordered[key] == nil {
					ordered[key] = batch.Ordered(ctx)
				}
				ctx = ordered[key]
			}
			if err := l.read(it); err != nil {
				l.finishSlot(*it, *new(Res), err)
				continue
			}
			if ctx != last {
				l.post(last)
			}
			l.posts, last = append(l.posts, *it), ctx
			if lone {
				l.post(last)
				if err := l.wait(); err != nil {
					return err
				}
				l.pending.Store(1)
			}
		}
		l.post(last)
		if err := l.wait(); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until the engine has answered all. A leader without a database gives up after a while, if there are others.
func (l *leader[Cmd, Res]) wait() error {
	if l.pending.Add(-1) == 0 {
		l.tellAll()
		return l.errIfDeposed()
	}
	t := time.NewTicker(patience / 4)
	defer t.Stop()
	for {
		select {
		case <-l.idle:
			return l.errIfDeposed()
		case <-t.C:
		case <-l.q.ctx.Done():
			select {
			case <-l.idle:
			case <-time.After(patience): // the flush under way may end well
			}
			l.leaving.Store(true)
			return l.q.ctx.Err()
		}
		if l.isDeposed() {
			l.leaving.Store(true)
			return batch.ErrDeposed
		}
		s := l.engine.Stats()
		if s.Trouble != nil && s.Since > patience && l.driver.Class(s.Trouble) == batch.Lost && l.otherLeaders() {
			l.leaving.Store(true)
			return fmt.Errorf("the database can't be reached: %w", s.Trouble)
		}
	}
}

// errIfDeposed reports whether this leader goes on.
func (l *leader[Cmd, Res]) errIfDeposed() error {
	if l.leaving.Load() {
		return batch.ErrDeposed
	}
	return nil
}

// startBeats beats, and publishes figures, until stop.
func (l *leader[Cmd, Res]) startBeats() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(l.q.options.Lease / 10)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
			if l.isDeposed() {
				return
			}
			_ = l.m.contained(func() error { l.m.head.beat.Add(1); l.publish(); return nil })
		}
	}()
	return func() { cancel(); <-ended }
}

// isDeposed reports whether another session leads, or the memory is gone.
func (l *leader[Cmd, Res]) isDeposed() bool {
	is := true
	_ = l.m.contained(func() error { is = l.m.head.lead.Load() != uint64(leads(l.epoch, l.m.self.Row)); return nil })
	return is
}

// begin has the driver lead.
func (l *leader[Cmd, Res]) begin(old string) (err error) {
	if l.driver, err = l.q.driver(); err != nil {
		return err
	}
	fenced, ok := l.driver.(batch.Fenced)
	if !ok {
		l.close()
		return errors.New("the driver is not a batch.Fenced")
	}
	l.fenced = fenced
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(l.q.ctx, max(l.q.options.Lease, patience))
		l.by, l.last, err = fenced.Lead(ctx, l.m.name, l.epoch, old)
		cancel()
		failpoint.Hit("batch/lead/fenced")
		if err == nil {
			return nil
		}
		class := l.driver.Class(err)
		if l.q.ctx.Err() != nil || l.isDeposed() || errors.Is(err, batch.ErrDeposed) || class != batch.Transient && class != batch.Lost ||
			time.Since(began) > patience && l.otherLeaders() {
			l.close()
			return fmt.Errorf("the driver can't lead: %w", err)
		}
		l.publishTrouble(err)
		l.pause(10*time.Millisecond + rand.N(40*time.Millisecond))
	}
}

func (l *leader[Cmd, Res]) otherLeaders() (others bool) {
	_ = l.m.contained(func() error { others = l.m.otherSessions(); return nil })
	return others
}

func (l *leader[Cmd, Res]) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.driver.Close(ctx); err != nil {
		l.q.options.Logger.Warn("the driver could not be closed", "queue", l.m.name, "error", err)
	}
}

func (l *leader[Cmd, Res]) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.q.ctx.Done():
	}
}
