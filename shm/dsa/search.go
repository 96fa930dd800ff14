package dsa

import (
	"context"
	"errors"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

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
