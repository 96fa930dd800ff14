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
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

const (
	closeLook = 20 * time.Millisecond // how often Close looks whether all is done
	patience  = 2 * time.Second       // how long a leader without a database keeps others from leading
)

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

	leaving atomic.Bool   // it takes no more commands
	pending atomic.Int64  // commands that the engine has
	idle    chan struct{} // receives when the engine has none any more
	looked  time.Time     // at all slots
	bell    bell          // rung before each transaction, and when all is answered
	taken   []item[Cmd]   // scratch, as the rest
	claims  []claim
	buf     []byte
	result  []byte                      // scratch of the engine's worker
	teller  func(item[Cmd], Res, error) // tell: a method value is an allocation for each use

	mu     sync.Mutex // of engine, while run makes it, and of
	before [10]uint64 // what of the engine's figures is in the shared ones
}

// steward leads whenever that is this session's turn, until the queue is closed.
func (q *Queue[Cmd, Res]) steward() {
	defer close(q.ended)
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

// waiting reports whether a command is under way or waits.
func (m *memory) waiting() bool {
	for i := range m.slots {
		if s := m.slots[i].load().state(); s == ready || s == claimed || s == tentative {
			return true
		}
	}
	return false
}

// lead leads one epoch, from the raising of it over the word that was seen.
func (q *Queue[Cmd, Res]) lead(bit shmsync.Bit, seen uint64, why string) {
	m := q.m
	l := &leader[Cmd, Res]{q: q, m: m, bit: bit, epoch: leadWord(seen).epoch() + 1, idle: make(chan struct{}, 1)}
	old := ""
	won := false
	_ = m.contained(func() error {
		if l.epoch > mostEpoch {
			return nil
		}
		old = m.head.backend.load()
		if won = m.head.lead.CompareAndSwap(seen, uint64(leads(l.epoch, m.self.Row))); !won {
			return nil
		}
		failpoint.Hit("batch/lead/raised")
		m.head.beat.Add(1)
		m.head.bit.Store(bit.Number())
		m.head.idle.Store(0)
		m.head.stats.takeovers.Add(1)
		return nil
	})
	if !won {
		return
	}
	l.teller = l.finishSlot
	stop := l.startBeats()
	defer stop()
	err := l.begin(old)
	if err == nil {
		q.options.Logger.Info("leads the queue", "queue", m.name, "epoch", l.epoch, "because", why)
		q.leads.Store(true)
		err = l.run()
		q.leads.Store(false)
	}
	l.releaseLead()
	if q.ctx.Err() == nil {
		q.options.Logger.Warn("leads the queue no more", "queue", m.name, "epoch", l.epoch, "error", err)
		l.pause(20*time.Millisecond + rand.N(80*time.Millisecond))
	}
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

// publishTrouble publishes why nothing goes on; nil: it goes on.
func (l *leader[Cmd, Res]) publishTrouble(err error) {
	_ = l.m.contained(func() error {
		st := &l.m.head.stats
		if err == nil {
			st.troubled.Store(0)
			return nil
		}
		st.troubled.CompareAndSwap(0, time.Now().UnixNano())
		l.m.head.trouble.store(excerpt.Of(err.Error(), textSize))
		return nil
	})
}

// releaseLead gives back what is claimed and lets others lead. What is tentative is left for them: the database knows.
func (l *leader[Cmd, Res]) releaseLead() {
	_ = l.m.contained(func() error {
		if l.isDeposed() {
			return nil
		}
		for i := range l.m.slots {
			s := &l.m.slots[i]
			if w := s.load(); w.state() == claimed && w.epoch() == l.epoch {
				l.returnClaimed(i, w)
			}
		}
		failpoint.Hit("batch/lead/resigning")
		l.m.head.lead.CompareAndSwap(uint64(leads(l.epoch, l.m.self.Row)), uint64(leads(l.epoch, -1)))
		failpoint.Hit("batch/lead/resigned")
		l.m.ringSessions()
		return nil
	})
}

// returnClaimed makes a claimed slot ready again.
func (l *leader[Cmd, Res]) returnClaimed(slot int, w word) {
	s := &l.m.slots[slot]
	s.alone.And(^uint32(underWay))
	if s.move(w, use(ready, s.number.Load())) {
		l.m.markReady(slot)
		l.m.wakeLeader()
	}
}
