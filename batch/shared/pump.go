package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// item is a command in the leader's engine.
type item[Cmd any] struct {
	slot   int
	cmd    Cmd
	parts  []part[Cmd] // of a merged one: the commands that it stands for
	owner  uint64
	stream uint64
	alone  bool
}

type part[Cmd any] struct {
	slot int
	cmd  Cmd
}

// claim is a slot that was claimed, and what orders it.
type claim struct {
	owner, order uint64
	slot         int
}

// quarrel is how many leaders may have died with a command before it is executed alone, and poison how many more then.
const (
	quarrel  = 2
	poison   = 2
	underWay = 1 << 31
)

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
		if err := l.m.contained(l.claim); err != nil {
			return err
		}
		if len(l.taken) == 0 {
			if err := l.sleep(); err != nil {
				return err
			}
			continue
		}
		if err := l.flush(); err != nil {
			return err
		}
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

// beatLook is how old the last look at all slots is made by a wake-up: several of them within a tenth of a second cost one.
const beatLook = 900 * time.Millisecond

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// claim takes slots that are ready into l.taken, from ready to claimed. It runs at the shared bytes.
func (l *leader[Cmd, Res]) claim() error {
	m := l.m
	clear(l.taken)
	l.taken, l.claims = l.taken[:0], l.claims[:0]
	most := l.q.options.Batch.MaxRows
	for i := range m.ready {
		k := (i + int(l.looked.UnixNano())) % len(m.ready) // no word is always the first
		if k < 0 {
			k += len(m.ready)
		}
		if m.ready[k].Load() == 0 {
			continue
		}
		set := m.ready[k].Swap(0)
		failpoint.Hit("batch/lead/unmarked")
		for ; set != 0; set &= set - 1 {
			slot := 64*k + bits.TrailingZeros64(set)
			if len(l.claims) >= most {
				m.markReady(slot)
				continue
			}
			s := &m.slots[slot]
			w := s.load()
			if w.state() != ready || !s.move(w, term(claimed, l.epoch, 0)) {
				continue
			}
			failpoint.Hit("batch/lead/claimed")
			l.claims = append(l.claims, claim{m.blocks[slot/perBlock].owner.Load(), s.order.Load(), slot})
		}
	}
	if len(l.claims) > 0 && m.head.lead.Load() != uint64(leads(l.epoch, m.self.Row)) {
		for _, c := range l.claims { // stopped meanwhile: the one that leads does not see these
			l.returnClaimed(c.slot, term(claimed, l.epoch, 0))
		}
		return batch.ErrDeposed
	}
	slices.SortFunc(l.claims, func(a, b claim) int { // each session's in their order
		if a.owner != b.owner {
			return cmp.Compare(a.owner, b.owner)
		}
		return cmp.Compare(a.order, b.order)
	})
	for _, c := range l.claims {
		s := &m.slots[c.slot]
		l.taken = append(l.taken, item[Cmd]{slot: c.slot, owner: c.owner, stream: s.stream.Load(), alone: s.deaths.Load() >= quarrel})
	}
	return nil
}

// flush lets the engine execute what is taken, and waits until all is answered. Commands with which leaders have died come
// last, each alone.
func (l *leader[Cmd, Res]) flush() error {
	ordered := map[[2]uint64]context.Context{}
	for _, lone := range []bool{false, true} {
		l.pending.Store(1)
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
			l.engine.Post(ctx, *it, l.teller)
			if lone {
				if err := l.wait(); err != nil {
					return err
				}
				l.pending.Store(1)
			}
		}
		if err := l.wait(); err != nil {
			return err
		}
	}
	return nil
}

// noteAlone notes that a command is executed alone. It reports false if leaders have died of that.
func (l *leader[Cmd, Res]) noteAlone(it *item[Cmd]) (ok bool) {
	_ = l.m.contained(func() error {
		s := &l.m.slots[it.slot]
		if ok = s.alone.Load() < poison; !ok {
			l.m.head.stats.poisoned.Add(1)
			return nil
		}
		s.alone.Or(underWay)
		failpoint.Hit("batch/lead/staked")
		return nil
	})
	return ok
}

// wait waits until the engine has answered all. A leader without a database gives up after a while, if there are others.
func (l *leader[Cmd, Res]) wait() error {
	if l.pending.Add(-1) == 0 {
		l.bell.toll(l.m)
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

// read reads the command of an item.
func (l *leader[Cmd, Res]) read(it *item[Cmd]) error {
	if err := l.m.contained(func() error {
		s := &l.m.slots[it.slot]
		long := s.length.Load()
		if long > uint32(l.m.shape.command) {
			return errGarbled
		}
		n := int(long)
		l.buf = append(l.buf[:0], l.m.commands[it.slot*l.m.shape.command:it.slot*l.m.shape.command+n]...)
		if s.sum.Load() != sumOf(s.number.Load(), l.buf) {
			return errGarbled
		}
		return nil
	}); err != nil {
		return &batch.Error{Class: batch.Row, Err: err}
	}
	cmd, err := parse(l.q.commands, l.buf)
	if err != nil {
		return &batch.Error{Class: batch.Row, Err: errkind.As(ErrCorrupt, fmt.Errorf("the command can't be parsed: %w", err))}
	}
	it.cmd = cmd
	return nil
}

// finishSlot gives a slot its outcome. The engine's worker calls it, and the leader for what the engine does not get.
func (l *leader[Cmd, Res]) finishSlot(it item[Cmd], res Res, err error) {
	if errors.Is(err, batch.ErrDeposed) {
		l.leaving.Store(true)
	}
	_ = l.m.contained(func() error {
		if l.m.head.lead.Load() != uint64(leads(l.epoch, l.m.self.Row)) {
			return nil // the next leader answers it
		}
		return l.answer(it.slot, res, err)
	})
	if l.pending.Add(-1) == 0 {
		l.bell.toll(l.m)
		l.idle <- struct{}{}
	}
}

// answer stores a slot's outcome in the shared bytes, for tell. It does nothing to a slot that this leader has not claimed.
func (l *leader[Cmd, Res]) answer(slot int, res Res, err error) error {
	s := &l.m.slots[slot]
	w := s.load()
	if w.epoch() != l.epoch || w.state() != claimed && w.state() != tentative {
		return nil
	}
	switch {
	case l.leaving.Load() && err != nil: // it is not known, or was not tried
		if w.state() == claimed {
			l.returnClaimed(slot, w)
		}
		return nil
	case err != nil:
		l.m.storeResult(slot, failure, appendFailure(nil, err, l.m.shape.result))
	case w.state() == claimed:
		l.storeResult(slot, res)
	}
	failpoint.Hit("batch/lead/answering")
	if s.move(w, use(done, s.number.Load())) {
		failpoint.Hit("batch/lead/answered")
		l.bell.owe(l.m, slot)
	}
	return nil
}

// storeResult stores a result. Only the engine's worker calls it.
func (l *leader[Cmd, Res]) storeResult(slot int, res Res) {
	b, err := appendTo(l.q.results, l.result[:0], res)
	if err != nil {
		l.m.storeResult(slot, missing, nil)
		return
	}
	l.result = b
	l.m.storeResult(slot, value, b)
}
