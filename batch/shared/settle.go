package shared

import (
	"time"

	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/failpoint"
)

// inspectSlots looks at all slots: it settles those that earlier leaders have left, frees those of dead owners, and finds those that
// are ready though nothing says so.
func (l *leader[Cmd, Res]) inspectSlots() error {
	l.looked = time.Now()
	if l.q.written != nil {
		if err := l.tellInherited(); err != nil {
			return err
		}
	}
	return l.m.contained(func() error {
		m := l.m
		for b := range m.blocks {
			owner := m.blocks[b].owner.Load()
			dead := m.ownerless(b, owner)
			empty := true
			for slot := b * perBlock; slot < (b+1)*perBlock; slot++ {
				l.settle(slot, dead && m.blocks[b].owner.Load() == owner)
				empty = empty && m.slots[slot].load().state() == free
			}
			if dead && empty && peerOf(owner).Row >= 0 {
				failpoint.Hit("batch/look/freeing")
				m.blocks[b].owner.CompareAndSwap(owner, ownerless(owner))
			}
		}
		return nil
	})
}

// tellInherited calls Rules.Written with the commands that an earlier leader has committed and not answered: it may have
// died before it had called it. They are answered after that.
func (l *leader[Cmd, Res]) tellInherited() error {
	clear(l.taken)
	l.taken = l.taken[:0]
	if err := l.m.contained(func() error {
		for slot := range l.m.slots {
			if l.inherits(l.m.slots[slot].load()) {
				l.taken = append(l.taken, item[Cmd]{slot: slot})
			}
		}
		return nil
	}); err != nil {
		return err
	}
	cmds := make([]Cmd, 0, len(l.taken))
	for i := range l.taken {
		if err := l.read(&l.taken[i]); err == nil { // the bytes of others were spoilt after they had been executed
			cmds = append(cmds, l.taken[i].cmd)
		}
	}
	if len(cmds) > 0 {
		l.tellWritten(cmds)
	}
	return nil
}

func (l *leader[Cmd, Res]) tellWritten(cmds []Cmd) {
	defer func() {
		if r := recover(); r != nil {
			l.q.options.Logger.Error("Rules.Written has panicked", "queue", l.m.name, "panic", excerpt.Print(r))
		}
	}()
	l.q.written(cmds)
}

// inherits reports whether a slot's command was committed by an earlier leader, and not answered.
func (l *leader[Cmd, Res]) inherits(w word) bool {
	return w.state() == tentative && w.epoch() < l.epoch && w.epoch() == l.by && w.flush() <= l.last
}

// ownerless reports whether the owner of a block is dead, or has left.
func (m *memory) ownerless(b int, owner uint64) bool {
	return !m.alive(peerOf(owner)) || m.blocks[b].orphan.Load() != 0
}

// settle sees to one slot. Each move is from the very word that was found, so it does not matter who else settles it.
func (l *leader[Cmd, Res]) settle(slot int, dead bool) {
	m := l.m
	s := &m.slots[slot]
	w := s.load()
	number := s.number.Load()
	switch w.state() {
	case free:
	case claimed, tentative:
		if w.epoch() >= l.epoch {
			return // its own, or it is deposed
		}
		if l.inherits(w) {
			failpoint.Hit("batch/look/committed")
			if s.move(w, use(done, number)) {
				m.head.stats.settled.Add(1)
				m.ringOwner(slot)
			}
			return
		}
		if a := s.alone.Load(); a&underWay != 0 {
			s.alone.Store(a&^underWay + 1)
		} else {
			s.deaths.Add(1)
		}
		failpoint.Hit("batch/look/returning")
		if s.move(w, use(ready, number)) {
			failpoint.Hit("batch/look/returned")
			m.markReady(slot)
		}
	case ready:
		if !dead || m.head.keep.Load() != 0 {
			m.markReady(slot)
		} else if s.move(w, use(free, number)) {
			m.head.stats.dropped.Add(1)
		}
	case taken, done:
		if dead {
			failpoint.Hit("batch/look/dead")
			s.move(w, use(free, number))
		}
	default: // garbled: what it was can't be told
		if dead {
			s.move(w, use(free, number))
		}
	}
}
