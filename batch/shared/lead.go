package shared

import (
	"math/rand/v2"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

const (
	closeLook = 20 * time.Millisecond // how often Close looks whether all is done
	patience  = 2 * time.Second       // how long a leader without a database keeps others from leading
)

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
	released := false
	defer func() {
		if !released { // a function of the program has ended the goroutine
			q.leads.Store(false)
			l.releaseLead()
		}
	}()
	err := l.begin(old)
	if err == nil {
		q.options.Logger.Info("leads the queue", "queue", m.name, "epoch", l.epoch, "because", why)
		q.leads.Store(true)
		err = l.run()
		q.leads.Store(false)
	}
	l.releaseLead()
	released = true
	if q.ctx.Err() == nil {
		q.options.Logger.Warn("leads the queue no more", "queue", m.name, "epoch", l.epoch, "error", err)
		l.pause(20*time.Millisecond + rand.N(80*time.Millisecond))
	}
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

func leads(epoch uint64, row int) leadWord { return leadWord(epoch | uint64(row+1)<<epochBits) }
