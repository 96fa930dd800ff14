package waitqueue

import (
	"time"
)

// Ref names a record, the same in every process; 0 names none.
type Ref = uint32

// InPlace stands for the hold in place where a Ref is asked for.
const InPlace Ref = 1<<32 - 1

// First stands for the record of one that goes before all that wait.
const First Ref = 1<<32 - 2

// How long the parts of a wait are.
const (
	// Patience is how long others may go before a waiter.
	Patience = time.Millisecond
	// SetPatience is the same for a waiter for several locks.
	SetPatience = time.Second
	// Grace is how long a waiter that was called has to come, at first.
	Grace = 20 * time.Millisecond
	// graceEach is for how long it has more for each one that was called before it, and comes first.
	graceEach = time.Millisecond
	// maxGrace is the same for one that has not come again and again.
	maxGrace = time.Second
)

// maxWalk bounds a walk over a list that was garbled.
const maxWalk = 1 << 21

// Queue is a lock for the time that its mutex is held.
type Queue struct {
	Head *Head
	Key  uint64            // what Record.Head is of the lock's records
	At   func(Ref) *Record // nil for what names no record
	Now  uint64            // nanoseconds of the wall clock

	// Calls are the waiters that have been called: the caller rings them when it has let the mutex go.
	Calls []Call
}

// Call is a waiter that has been called.
type Call struct {
	Ref Ref
	Bit uint32 // of the mailbox of its session
}

// SlowLocked makes all that come from now on take the mutex, and returns the hold in place. The caller holds the head's
// mutex.
func (q *Queue) SlowLocked() Hold {
	return Hold(q.Head.Word.Or(uint64(Slow)))
}

// at returns a record of this lock.
func (q *Queue) at(ref Ref) *Record {
	if r := q.At(ref); r != nil && r.Head.Load() == q.Key {
		return r
	}
	return nil
}

// walk calls f for each record, in the order of tickets, until it returns false.
func (q *Queue) walk(f func(Ref, *Record, State) bool) {
	ref := q.Head.first.Load()
	for n := 0; ref != 0 && n < maxWalk; n++ {
		r := q.at(ref)
		if r == nil {
			return
		}
		next := r.next.Load()
		if !f(ref, r, r.State()) {
			return
		}
		ref = next
	}
}

// masks returns a bit for each mode that the lock is held in, idle holds apart. It is false if the holders keep the first
// waiter out for certain: then no waiter is to be called or passed over, and the masks are not whole.
func (q *Queue) masks() (held, idle uint8, may bool) {
	held = 1 << Hold(q.Head.Word.Load()).Mode()
	if held == 1<<Exclusive && q.Head.first.Load() != 0 {
		return held, idle, false
	}
	first, sure := None, true
	q.walk(func(_ Ref, r *Record, s State) bool {
		switch s.Kind() {
		case Held:
			held |= 1 << s.Mode()
		case Idle:
			idle |= 1 << s.Mode()
		case Waiting:
			switch {
			case s&Upgrading != 0 || r.called.Load() != 0:
				sure = false
			case first == None && waits(r, s):
				first = s.Mode()
			}
		}
		return !sure || conflicts[first]&held == 0
	})
	return held, idle, !sure || conflicts[first]&held == 0
}

// revoke takes the lock from idle holders that mode conflicts with. It reports whether none of them has come back to it.
func (q *Queue) revoke(m Mode) bool {
	all := true
	q.walk(func(_ Ref, r *Record, s State) bool {
		if s.Kind() == Idle && m.Conflicts(s.Mode()) && !r.Word.CompareAndSwap(uint64(s), uint64(s.With(Gone))) {
			all = r.State().Kind() == Gone && all
		}
		return true
	})
	return all
}

// fits reports whether the lock can be had in mode m beside its holders, but for the hold own.
func (q *Queue) fits(m Mode, own Ref) bool {
	if own != InPlace && m.Conflicts(Hold(q.Head.Word.Load()).Mode()) {
		return false
	}
	fits, idle := true, false
	q.walk(func(ref Ref, _ *Record, s State) bool {
		if ref != own && m.Conflicts(s.Mode()) {
			fits = s.Kind() != Held
			idle = idle || s.Kind() == Idle
		}
		return fits
	})
	return fits && (!idle || q.revoke(m))
}

// waits reports whether a record waits, and has not been passed over.
func waits(r *Record, s State) bool { return s.Kind() == Waiting && r.passes.Load()&passed == 0 }

// reserves reports whether a waiter has waited so long that others may not go before it.
func (q *Queue) reserves(r *Record, s State) bool {
	patience := uint64(Patience)
	if s&Several != 0 {
		patience = uint64(SetPatience)
	}
	return s&Upgrading != 0 || q.Now-r.Since.Load() >= patience // a clock that was put back counts as long ago
}

// FitsLocked reports whether the lock can be had now in mode m: by one that waits already, in record ref, by one that has just
// come, if ref is 0, or by First. Own is what the same owner holds of the lock, to be replaced by mode m; 0 for nothing.
func (q *Queue) FitsLocked(m Mode, ref, own Ref) bool {
	if !q.fits(m, own) {
		return false
	}
	if ref == First {
		return true
	}
	fits := true
	q.walk(func(other Ref, r *Record, s State) bool {
		if other == ref {
			return false
		}
		fits = !waits(r, s) || !m.Conflicts(s.Mode()) || !q.reserves(r, s)
		return fits
	})
	return fits
}

// PlaceLocked puts a hold in place, if the word is free, and reports whether it was. The caller holds the head's mutex.
func (q *Queue) PlaceLocked(hold Hold) bool {
	w := Hold(q.Head.Word.Load())
	return w.Mode() == None && q.Head.Word.CompareAndSwap(uint64(w), uint64(hold|w&Slow))
}

// EnterLocked lists a record, whose fields are set, by its ticket. The caller sets its word before, and calls SlowLocked if
// it is no pin. The caller holds the head's mutex.
func (q *Queue) EnterLocked(ref Ref, rec *Record) {
	ticket := rec.Ticket.Load()
	after, next := Ref(0), q.Head.first.Load()
	for n, at := 0, q.Head.last.Load(); at != 0 && n < maxWalk; n++ {
		r := q.at(at)
		if r == nil {
			break
		}
		if r.Ticket.Load() <= ticket {
			after, next = at, r.next.Load()
			break
		}
		at = r.prev.Load()
	}
	rec.prev.Store(after)
	rec.next.Store(next)
	q.link(after, next, ref, ref)
}

// link makes what is before a place in the list point to one record, and what is behind it to another.
func (q *Queue) link(before, behind, next, prev Ref) {
	if before == 0 {
		q.Head.first.Store(next)
	} else if r := q.at(before); r != nil {
		r.next.Store(next)
	}
	if behind == 0 {
		q.Head.last.Store(prev)
	} else if r := q.at(behind); r != nil {
		r.prev.Store(prev)
	}
}

// LeaveLocked takes a record off the list. The caller sets its word before: it counts for nothing from then on. The caller
// holds the head's mutex.
func (q *Queue) LeaveLocked(rec *Record) {
	prev, next := rec.prev.Load(), rec.next.Load()
	q.link(prev, next, next, prev)
	rec.called.Store(0)
	rec.passes.Store(0)
}

// ComeLocked notes that a waiter runs: it is no longer called, nor passed over. The caller holds the head's mutex.
func (q *Queue) ComeLocked(rec *Record) {
	rec.called.Store(0)
	if n := rec.passes.Load(); n&passed != 0 {
		rec.passes.Store(n &^ passed)
	}
}

// CallLocked calls, in order, all waiters that can have the lock now, and passes over those that have not come. It is called
// after everything that may let someone in.
func (q *Queue) CallLocked() {
	held, idle, may := q.masks()
	if !may {
		return
	}
	busy := false
	open := true // no waiter that could not be called was met
	called := 0
	q.walk(func(ref Ref, r *Record, s State) bool {
		switch s.Kind() {
		case Held, Idle:
			busy = true
		case Waiting:
			busy = true
			switch at := r.called.Load(); {
			case at == 0:
			case q.Now-at >= uint64(grace(r, called)):
				r.passes.Store(r.passes.Load() + 1 | passed)
				r.called.Store(0)
			default:
				called++
			}
			m := s.Mode()
			switch {
			case r.passes.Load()&passed != 0:
				return true
			case s&Upgrading != 0:
				open = q.fits(m, Ref(r.Extra.Load()))
			default:
				open = conflicts[m&7]&held == 0 && (conflicts[m&7]&idle == 0 || q.revoke(m))
			}
			if !open { // nor are those behind it, until it is in or passed over
				return false
			}
			if r.called.Load() == 0 {
				r.called.Store(max(q.Now, 1))
				q.Calls = append(q.Calls, Call{ref, r.Bit.Load()})
			}
			if s&Several == 0 || q.reserves(r, s) {
				held |= 1 << m
			}
		}
		return true
	})
	if !busy {
		q.Head.Word.And(^uint64(Slow))
	}
}

// grace returns how long a waiter has to come that was called together with so many before it.
func grace(r *Record, before int) time.Duration {
	return min(Grace<<min(r.passes.Load()&^passed, 10), maxGrace) + time.Duration(before)*graceEach
}

// DueLocked returns after how long the first of the waiters that were called before a record is to be passed over; 0 if none
// was called. The caller holds the head's mutex.
func (q *Queue) DueLocked(ref Ref) (d time.Duration) {
	called := 0
	q.walk(func(other Ref, r *Record, s State) bool {
		if at := r.called.Load(); at != 0 && other != ref && waits(r, s) {
			if left := max(grace(r, called)-time.Duration(q.Now-at), 1); d == 0 || left < d {
				d = left
			}
			called++
		}
		return other != ref
	})
	return d
}

// AheadLocked counts the waiters before a record. The caller holds the head's mutex.
func (q *Queue) AheadLocked(ref Ref) (n int) {
	q.walk(func(other Ref, _ *Record, s State) bool {
		if other != ref && s.Kind() == Waiting {
			n++
		}
		return other != ref
	})
	return n
}

// WantLocked calls f with the row of each holder, but for the hold own, that mode m conflicts with, and marks those holds: see
// Record.Wanted. The caller holds the head's mutex.
func (q *Queue) WantLocked(m Mode, own Ref, rowOf func(Ref) int, f func(row int)) {
	if h := Hold(q.Head.Word.Load()); own != InPlace && m.Conflicts(h.Mode()) {
		f(h.Row())
	}
	q.walk(func(ref Ref, r *Record, s State) bool {
		if (s.Kind() == Held || s.Kind() == Idle) && ref != own && m.Conflicts(s.Mode()) {
			r.called.Store(1)
			f(rowOf(ref))
		}
		return true
	})
}

// EachLocked calls f for each record. The caller holds the head's mutex.
func (q *Queue) EachLocked(f func(Ref, State)) {
	q.walk(func(ref Ref, _ *Record, s State) bool {
		f(ref, s)
		return true
	})
}

// UpgradingLocked reports whether another holder waits for a mode that conflicts with holding the lock in mode held, or with
// wanting it in mode m.
func (q *Queue) UpgradingLocked(held, m Mode) (yes bool) {
	q.walk(func(_ Ref, _ *Record, s State) bool {
		yes = yes || s.Kind() == Waiting && s&Upgrading != 0 && (s.Mode().Conflicts(held) || s.Mode().Conflicts(m))
		return !yes
	})
	return yes
}

// SweepLocked takes from the lock what a row has of it, whose session is dead, and calls lost for each hold.
func (q *Queue) SweepLocked(row int, rowOf func(Ref) int, lost func(Mode, uint32)) {
	for {
		h := Hold(q.Head.Word.Load())
		if h.Mode() == None || h.Row() != row {
			break
		}
		lost(h.Mode(), h.Owner()) // before: this session may die here, too
		q.Head.Word.CompareAndSwap(uint64(h), uint64(h&Slow))
	}
	q.walk(func(ref Ref, r *Record, s State) bool {
		if rowOf(ref) == row {
			if s.Kind() == Held {
				lost(s.Mode(), s.Owner())
			}
			q.LeaveLocked(r)
			r.Word.Store(0)
		}
		return true
	})
}

// RelinkLocked makes the list empty. The caller then enters each record of the head again. It holds the head's mutex.
func (q *Queue) RelinkLocked() {
	q.Head.first.Store(0)
	q.Head.last.Store(0)
	q.SlowLocked()
}
