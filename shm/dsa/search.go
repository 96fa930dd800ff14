package dsa

import (
	"context"
	"errors"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// This file walks an area for spans that can be taken. An area of 32 GiB has up to half a million, so a search is made
// in turns, each of which holds the area's lock for a bounded number of runs; between two turns other sessions allocate
// and free, and what the search has passed may change again. A search is a look for memory, not a proof that there is
// none: that is why takeBack makes it again while others free.

const (
	// batch is how many runs one turn under the lock looks at.
	batch = 4096
	// crop is how many chunks of empty spans are enough for one turn.
	crop = 16

	// searches is how many times in a row a search is made, as long as other sessions free objects between them.
	searches = 8
)

// search is a search for spans that can be taken. It is for one goroutine.
type search struct {
	a *Area
	// class is that of which spans with room are wanted; -1 is none.
	class int
	// empties is true if empty spans of all classes are wanted; enough is how many chunks of them end a turn.
	empties bool
	enough  int
	// left is how many runs the turn may still look at.
	left int

	// alive are the sessions, by slot, of which this turn has asked whether they live.
	alive map[int]bool
	// row and chunk are where the search is.
	row, chunk int
	// list are the contested and the empty partial spans that this turn has found, which have so many chunks. Room is
	// true if one of the class is among them.
	list   []spanRef
	chunks int
	room   bool
}

// run searches the whole area until get has what it wants. It takes the area's lock for each turn anew, and looks for
// the end of the area in between.
func (s *search) run(ctx context.Context, get func(context.Context) (bool, error)) (found bool, err error) {
	for s.row, s.chunk = 0, 0; s.row < len(s.a.rows) && !found; {
		if s.a.ends.Ended() {
			return false, errClosed
		}
		if found, err = s.runTurn(ctx, get); err != nil {
			return false, err
		}
	}
	return found, nil
}

// runTurn goes on with the search until it has found enough, or has looked at batch runs; then it takes what it has
// found, and calls get if anything could be taken. It takes the area's lock. A segment that cannot be mapped is passed
// over, except after the end of the session: nothing more can be mapped then.
func (s *search) runTurn(ctx context.Context, get func(context.Context) (bool, error)) (found bool, err error) {
	a := s.a
	g, err := a.lockArea(ctx)
	if err != nil {
		return false, err
	}
	defer g.Unlock()
	s.list, s.chunks, s.room, s.left = s.list[:0], 0, false, batch
	clear(s.alive)
	for ; s.row < len(a.rows) && !s.turnOver(); s.row, s.chunk = s.row+1, 0 {
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
		if s.scanRunsLocked(m); s.chunk < m.chunks {
			break
		}
	}
	took, err := s.takeContestedLocked(ctx)
	if err == nil && took {
		found, err = get(ctx)
	}
	return found, a.dirtyIfCorruptLocked(err)
}

// turnOver reports whether the turn is over.
func (s *search) turnOver() bool { return s.left <= 0 || s.room || s.empties && s.chunks >= s.enough }

// scanRunsLocked goes through a segment's runs, from the chunk where the search is, until the turn is over. The length
// of a run comes from shared memory: one that is 0, or reaches over the segment's end, ends the search in this
// segment, so that it neither stays where it is nor leaves the segment. The caller holds the area's lock.
func (s *search) scanRunsLocked(m *mapping) {
	for s.chunk < m.chunks && !s.turnOver() {
		s.left--
		sp := &m.spans[s.chunk]
		n := 1
		switch stateKind(sp.state.Load()) {
		case kindOwned, kindFull, kindPartial, kindContested, kindLarge:
			if n = int(sp.chunks.Load()); m.checkRun(s.chunk, sp, n) != nil {
				s.chunk = m.chunks // garbled: the session that repairs or verifies reports it
				return
			}
			s.contestLocked(spanRef{m, s.chunk, sp}, n)
		}
		s.chunk += n
	}
}

// contestLocked makes a span of n chunks contested, if it is wanted and its session's notes can be relied on, and puts
// it into the list. Empty partial spans, and those that are contested already, go into the list as they are. That a
// span is empty, or has room, is a guess as long as its session may be at work in it; relistContestedLocked looks
// again. The caller holds the area's lock.
func (s *search) contestLocked(r spanRef, n int) {
	state := r.s.state.Load()
	switch stateKind(state) {
	case kindOwned:
		cl, err := r.class()
		if err != nil || !s.empties && cl.id != s.class {
			return
		}
		empty := r.s.empty(cl)
		if !(empty && s.empties || cl.id == s.class && r.s.hasRoom(cl)) || !s.notesReliable(state) {
			return
		}
		if !r.s.state.CompareAndSwap(state, withKind(state, kindContested, 0)) {
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

// notesReliable reports whether the notes of the living session that has a span, as its state says, can be relied on.
// The spans of a dead session are not for a taker: recovery reads its notes, which say what it was doing, and gives
// its spans back. A slot that the area does not have is a stray store's, and nothing is taken. The caller holds the
// area's lock.
func (s *search) notesReliable(state uint64) bool {
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
	return alive && a.canOrderNotes(i) // of a dead session they are recovery's
}

// takeContestedLocked puts the contested spans of the list that no note names where they belong, and the empty partial
// ones back to the free chunks. It reports whether there is any. If one session's notes cannot be made seen, nothing
// is taken, and the spans stay contested for a later search. The caller holds the area's lock.
func (s *search) takeContestedLocked(ctx context.Context) (took bool, err error) {
	if len(s.list) == 0 || !s.a.orderAllNotes() {
		return false, nil
	}
	failpoint.Hit("dsa/take/fenced")
	named := s.a.notedNames()
	for _, r := range s.list {
		if named.has(r) {
			continue
		}
		if state := r.s.state.Load(); stateKind(state) == kindPartial {
			err = s.a.relistFreedLocked(ctx, r, state)
		} else {
			err = s.a.relistContestedLocked(ctx, r)
		}
		if err != nil {
			return took, err
		}
		took = true
		failpoint.Hit("dsa/take/settled")
	}
	return took, nil
}
