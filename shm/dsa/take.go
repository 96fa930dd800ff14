package dsa

import (
	"context"
	"errors"
	"math"

	"github.com/godsm/godsm/internal/sys/fence"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// Taking a span from the session that has it to itself, be it idle or stopped, or busy with others. All of this runs
// under the area's lock.
//
// The owner writes "used" by plain stores, without the lock. So each of its calls first names the span, in a note, and
// then loads the span's state: if that is no longer the one by which it has the span, it strikes the note and forgets the
// span. Who takes makes the span contested, which is nobody's, by compare-and-swap, has all processors pass a fence, and
// then reads all notes. A note that names the span may be that of a call that has loaded the state before: the span stays
// contested, and is looked at again later. If none does, each later call of the owner finds it contested, and what earlier
// calls stored is seen: the taker is alone with it.
//
// In a contested span nobody allocates; who frees there sets "freed", as in any span of another session.

// How a session's notes become seen by who takes, as its slot says.
const (
	orderNone   = iota // unknown: nothing is taken from it
	orderFence         // by fence.All
	orderItself        // each is seen before the session loads the state
)

// orderOf returns that of this process, and whether its notes are to be stored by an exchange for that.
func orderOf() (order uint32, swaps bool) {
	switch {
	case ordered.Fenced:
		return orderItself, false
	case fence.Join():
		return orderFence, false
	}
	return orderItself, true
}

// takeBack looks for spans that sessions have to themselves and do not use, for a run of n chunks or for a span of
// class c (-1: none), when the area was refused to grow. After each turn that yields something it calls get, under the
// lock; found reports whether that has got what it wanted. If nothing has been freed since a search was in vain it is in
// vain again. Without an error, and nothing found, the area may be able to grow now.
func (a *Area) takeBack(
	ctx context.Context, c, n int, refused error, get func(context.Context) (bool, error),
) (found bool, err error) {
	if !errors.Is(refused, ErrNoMemory) {
		return false, refused
	}
	vain := &a.vain[c+1]
	for range searches {
		sum := a.freedSum()
		if vain.Load() == sum {
			break
		}
		s := search{a: a, class: c, empties: true, enough: max(n, crop)}
		if found, err = s.run(ctx, get); found || err != nil {
			return found, err
		}
		vain.Store(sum)
	}
	gave, err := a.giveForGrowth(ctx, n)
	if err == nil && !gave {
		err = refused
	}
	return false, err
}

// takeIdleLocked takes the empty spans of all living sessions that their calls do not name and, if all is false, only those
// that are contested already: what a taker left that died, or found at work. The caller holds the area's lock.
func (a *Area) takeIdleLocked(ctx context.Context, all bool) error {
	for i := range a.rows {
		if state, _ := rowOf(a.rows[i].word.Load()); state != rowLive {
			continue
		}
		m, err := a.mapRow(ctx, i)
		if lost(err) {
			continue
		}
		if err != nil {
			return err
		}
		s := search{a: a, class: -1, empties: all, enough: math.MaxInt, left: math.MaxInt}
		s.lookLocked(m)
		if _, err := s.takeLocked(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *Area) ordersOf(i int) bool {
	switch a.slots[i].order.Load() {
	case orderItself:
		return true
	case orderFence:
		return fence.Able()
	}
	return false
}

// fenceAll has the notes of all sessions seen. It reports false if that is impossible for one of them.
func (a *Area) fenceAll() bool {
	wanted := false
	for i := range a.slots {
		if a.slots[i].peer.Load() == 0 {
			continue
		}
		if !a.ordersOf(i) {
			return false
		}
		wanted = wanted || a.slots[i].order.Load() == orderFence
	}
	return !wanted || fence.All()
}

// names are the chunks that notes name.
type names []Pointer

func (a *Area) named() (list names) {
	for i := range a.slots {
		if a.slots[i].peer.Load() == 0 {
			continue
		}
		for k := range a.slots[i].notes {
			if p := Pointer(a.slots[i].notes[k].intent.Load()); p.slack() != intentNone {
				list = append(list, p)
			}
		}
	}
	return list
}

func (list names) has(r spanRef) bool {
	start := r.start()
	for _, p := range list {
		if p.row() == r.m.row && p.offset() >= start && p.offset() < start+uint64(r.s.chunks.Load())<<chunkShift {
			return true
		}
	}
	return false
}

// freedSum changes when an object is freed, or a session comes or goes: resting notes count what was freed.
func (a *Area) freedSum() (sum uint64) {
	for i := range a.slots {
		w := a.slots[i].peer.Load()
		if w == 0 {
			continue
		}
		sum += w * 0x9e37_79b9_7f4a_7c15
		for k := range a.slots[i].notes {
			sum += a.slots[i].notes[k].intent.Load()
		}
	}
	return sum
}
