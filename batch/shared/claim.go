package shared

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

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

// read reads the command of an item. It fails if Codec.Parse ends the goroutine.
func (l *leader[Cmd, Res]) read(it *item[Cmd]) error {
	returned := false
	defer func() {
		if !returned {
			l.finishSlot(*it, *new(Res), &batch.Error{Class: batch.Row,
				Err: fmt.Errorf("Codec.Parse: %w: it ended its goroutine (runtime.Goexit)", batch.ErrPanic)})
		}
	}()
	err := l.readCommand(it)
	returned = true
	return err
}

func (l *leader[Cmd, Res]) readCommand(it *item[Cmd]) error {
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

// returnClaimed makes a claimed slot ready again.
func (l *leader[Cmd, Res]) returnClaimed(slot int, w word) {
	s := &l.m.slots[slot]
	s.alone.And(^uint32(underWay))
	if s.move(w, use(ready, s.number.Load())) {
		l.m.markReady(slot)
		l.m.wakeLeader()
	}
}
