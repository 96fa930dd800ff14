package dsa

import (
	"context"
	"errors"
	"math"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fence"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/shmsync"
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

const (
	batch = 4096 // how many runs one turn under the lock looks at
	crop  = 16   // chunks of empty spans are enough for one turn

	// searches is how many times in a row a search is made, as long as others free objects meanwhile.
	searches = 8
)

// search is a search for spans that can be taken.
type search struct {
	a       *Area
	class   int  // those of this class are wanted if they have room; -1: none
	empties bool // empty ones of all classes are
	enough  int  // chunks of those that one turn takes
	left    int  // runs that it looks at

	alive      map[int]bool // sessions that were asked about
	row, chunk int          // where it is
	list       []spanRef
	chunks     int
	room       bool // one of the class is in the list
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

// run searches the whole area until get has what it wants. It takes the lock for each turn anew.
func (s *search) run(ctx context.Context, get func(context.Context) (bool, error)) (found bool, err error) {
	for s.row, s.chunk = 0, 0; s.row < len(s.a.rows) && !found; {
		if s.a.ends.Ended() {
			return false, errClosed
		}
		if found, err = s.turn(ctx, get); err != nil {
			return false, err
		}
	}
	return found, nil
}

func (s *search) turn(ctx context.Context, get func(context.Context) (bool, error)) (found bool, err error) {
	a := s.a
	g, err := a.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer g.Unlock()
	s.list, s.chunks, s.room, s.left = s.list[:0], 0, false, batch
	clear(s.alive)
	for ; s.row < len(a.rows) && !s.done(); s.row, s.chunk = s.row+1, 0 {
		if state, _ := rowOf(a.rows[s.row].word.Load()); state != rowLive {
			continue
		}
		m, err := a.mapRow(ctx, s.row)
		if errors.Is(err, ErrClosed) {
			return false, err
		}
		if err != nil {
			continue // what can't be mapped can't be taken
		}
		if s.lookLocked(m); s.chunk < m.chunks {
			break
		}
	}
	took, err := s.takeLocked(ctx)
	if err == nil && took {
		found, err = get(ctx)
	}
	return found, a.doubtedLocked(err)
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

func (s *search) done() bool { return s.left <= 0 || s.room || s.empties && s.chunks >= s.enough }

// lookLocked goes through a segment's runs, from the chunk where the search is. The caller holds the area's lock.
func (s *search) lookLocked(m *mapping) {
	for s.chunk < m.chunks && !s.done() {
		s.left--
		sp := &m.spans[s.chunk]
		n := 1
		switch kindOf(sp.state.Load()) {
		case kindOwned, kindFull, kindPartial, kindContested, kindLarge:
			if n = int(sp.chunks.Load()); m.checkRun(s.chunk, sp, n) != nil {
				s.chunk = m.chunks // garbled: who repairs or verifies says so
				return
			}
			s.considerLocked(spanRef{m, s.chunk, sp}, n)
		}
		s.chunk += n
	}
}

// considerLocked makes a span contested if it is wanted and can be taken. The caller holds the area's lock.
func (s *search) considerLocked(r spanRef, n int) {
	state := r.s.state.Load()
	switch kindOf(state) {
	case kindOwned:
		cl, err := r.class()
		if err != nil || !s.empties && cl.id != s.class {
			return
		}
		empty := r.s.empty(cl)
		if !(empty && s.empties || cl.id == s.class && r.s.hasRoom(cl)) || !s.reaches(state) {
			return
		}
		if !r.s.state.CompareAndSwap(state, moved(state, kindContested, 0)) {
			return
		}
		failpoint.Hit("dsa/take/contested")
		if cl.id == s.class {
			s.room = true
		}
		s.chunks += n
	case kindPartial: // of a shared class, the last one may be empty
		cl, err := r.class()
		if err != nil || !s.empties || !r.s.empty(cl) {
			return
		}
		s.chunks += n
	case kindContested: // of an earlier search, or of a taker that died
		s.chunks += n
	default:
		return
	}
	s.list = append(s.list, r)
}

// reaches reports whether the notes of the living session that has a span can be relied on.
func (s *search) reaches(state uint64) bool {
	a, i := s.a, int(state&slotMask)-1
	if i < 0 || i >= len(a.slots) {
		return false
	}
	alive, asked := s.alive[i]
	if !asked {
		w := a.slots[i].peer.Load()
		alive = w != 0 && (i == a.slot || a.self.Alive(shmsync.PeerOf(w)))
		if s.alive == nil {
			s.alive = map[int]bool{}
		}
		s.alive[i] = alive
	}
	return alive && a.ordersOf(i) // of a dead one they are recovery's
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

// takeLocked puts the contested spans that no note names where they belong. It reports whether there is any.
// The caller holds the area's lock.
func (s *search) takeLocked(ctx context.Context) (took bool, err error) {
	if len(s.list) == 0 || !s.a.fenceAll() {
		return false, nil
	}
	failpoint.Hit("dsa/take/fenced")
	named := s.a.named()
	for _, r := range s.list {
		if named.has(r) {
			continue
		}
		if state := r.s.state.Load(); kindOf(state) == kindPartial {
			err = s.a.tidySpanLocked(ctx, r, state)
		} else {
			err = s.a.settleSpanLocked(ctx, r)
		}
		if err != nil {
			return took, err
		}
		took = true
		failpoint.Hit("dsa/take/settled")
	}
	return took, nil
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

// giveForGrowth gives the empty segments back in which there is no run of n chunks, if an object needs more: so the area
// can grow by one. It reports whether any went.
func (a *Area) giveForGrowth(ctx context.Context, n int) (gave bool, err error) {
	g, err := a.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer g.Unlock()
	empty, limit, total := a.emptyBytesLocked(), a.head.limit.Load(), a.head.total.Load()
	if empty == 0 || limit > 0 && geometryOf(0, n).size > limit-min(limit, total-min(total, empty)) {
		return false, nil
	}
	return true, a.giveEmptyLocked(ctx)
}
