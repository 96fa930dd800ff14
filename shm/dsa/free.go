package dsa

import (
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/scope"
)

// This file holds Free and Bytes: what is done with the Pointer of an object. The pointer may be wrong, and other
// sessions may free the same object at the same time, so both ask the object's bits before they believe it.

// Free frees an object, whichever session allocated it. A pointer that leads to no object is ErrPointer; one that was
// kept while its block got another object is so in checked mode only: in normal mode that object is freed. In checked
// mode an object past whose end something was written is ErrOverrun, and stays allocated.
//
// As a rule it waits for goroutines of this process alone; for the area's lock, at most 10 seconds, if the object is a
// large one, and, if the span became empty or has room again, without an error if that is not free in time. If a
// segment went back since the session last looked, Free also unmaps it, and waits for the calls that are in flight in
// this process.
func (a *Area) Free(p Pointer) error { return a.free(p, Place{}, nil) }

// freeContained frees in a scope, so that a fault is an error and leaves no stripe locked. The only stripe that free
// can have when a fault leaves it is the one that find has locked, and has noted in locked. The pointer that a place
// owns is read in the scope, too, since that word lies in the same memory.
func (a *Area) freeContained(p Pointer, from Place) (err error) {
	if a.head == nil { // the zero Area
		return errClosed
	}
	var locked *stripe
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			if locked != nil {
				locked.Unlock()
			}
			err = a.errPanic(recover())
		}
	}()
	if from.word != nil {
		p = from.Pointer()
	}
	err = a.orClosed(a.free(p, from, &locked))
	if whole = true; !old { // as in allocContained
		debug.SetPanicOnFault(false)
	}
	return err
}

// free frees the object p, which from owns if it is a word. It runs in no scope of its own unless the area is careful,
// or some goroutine of this process is in a Contain; then it calls itself once by freeContained, with locked not nil.
//
// The order of its steps is what recovery relies on:
//
//  1. The object is checked: p leads to a block of the span, of a size that fits, which is allocated. In checked
//     mode its guard bytes must be intact and of this generation.
//  2. The note names the object. If the process dies from here on, recovery frees the object, unless the place owns it.
//  3. The word of the place is cleared: from then on the object is the session's.
//  4. The block is freed: in a span of this session by a plain store of used, else by freeRemote.
//  5. The note is put to rest.
//
// Which of the two it is in step 4 is decided by the span's state, loaded after the note was stored, as in alloc: a
// session that takes the span from then on reads the note, and leaves the span alone until the note is at rest. The word
// used was loaded before the note, and is right all the same. Only under this stripe can the session come to have the
// span anew; so if it has it now it had it then, and has stored nothing there in between.
func (a *Area) free(p Pointer, from Place, locked **stripe) error {
	switch {
	case from.at != 0: // in a scope already
	case a.careful, scope.Running():
		return a.freeContained(p, nowhere)
	}
	r, rel, cl, err := a.find(p, locked)
	if err != nil {
		return err
	}
	if cl == nil {
		if locked != nil {
			*locked = nil // freeLarge unlocks it, whatever happens
		}
		return a.freeLarge(p, r, rel, from)
	}
	st := &a.stripes[cl.stripe]
	i, ok := cl.index(rel)
	if !ok || !a.fitsClass(p, cl) {
		st.Unlock()
		return a.orClosed(notAllocated(p))
	}
	w := &r.s.words[i>>6]
	freed := w.freed.Load() // before used, as in pair.allocated
	used, bit := w.used.Load(), uint64(1)<<(i&63)
	if used&^freed&bit == 0 {
		st.Unlock()
		return a.orClosed(notAllocated(p))
	}
	size := uint64(0)
	if a.guard != 0 {
		if size, err = checkedSize(p, r.block(cl, i)); err != nil {
			st.Unlock()
			return a.orClosed(err)
		}
	}
	st.note.begin(p, from, a.swaps)
	failpoint.Hit("dsa/free/intended")
	from.put(0)
	if a.guard != 0 {
		poisonBytes(r.block(cl, i)[:size])
	}
	st.countFreed()
	if state := r.s.state.Load(); state&(kindMask|slotMask) != a.owned {
		err = a.freeRemote(p, r, cl, i, from)
	} else {
		// No other session writes used, and this one does so under this stripe; a session that takes the span sees the
		// note first.
		storeOrdered(&w.used, used&^bit)
		failpoint.Hit("dsa/free/unused")
		st.endNote(from)
		if h := &a.heaps[cl.id]; h.cur.s != r.s {
			err = a.relistOwn(h, held{r, state}, cl, i>>6)
		} else if h.word = min(h.word, i>>6); len(h.room) > 0 && r.s.allocatedInWord(cl, i>>6) == 0 && r.s.empty(cl) {
			err = a.releaseEmptyCur(h)
		}
	}
	stale := a.head.returned.Load() != a.seen.Load()
	st.Unlock()
	if stale {
		if locked != nil {
			*locked = nil
		}
		return a.unmapAfter(err)
	}
	return a.orClosed(err)
}

// freeRemote frees an object in a span that is not this session's, by setting its bit in freed. The caller has the
// class's stripe, and a note of the object. A double free is ErrPointer, also one that another session makes at the
// same time: the compare-and-swap lets one of them succeed.
//
// Two stores come before it. The stamp is written into the object's first bytes, and then the note says that it is
// there. If the process dies after the swap, the block may have another object by the time of the recovery; a session
// that collects the block removes the stamp first, so the recovery sees from the stamp whether the block still holds
// the object that was being freed. In the other order a death between the two would leave a note of a stamp which is
// not there, and an object that no session frees.
//
// If the span is full, it has room now, and some session has to make use of that. This session makes it its own, or, as
// long as it shares spans of that class, has it put into the list.
func (a *Area) freeRemote(p Pointer, r spanRef, cl *class, i int, from Place) error {
	st := &a.stripes[cl.stripe]
	w, bit := &r.s.words[i>>6], uint64(1)<<(i&63)
	off := r.start() + uint64(i)*cl.size
	*wordAt(r.m.bytes, off) = freedStamp(p)
	failpoint.Hit("dsa/free/stamped")
	storeOrdered(&st.note.intent, uint64(p.withSlack(intentStamped)))
	failpoint.Hit("dsa/free/other")
	for freed := w.freed.Load(); ; freed = w.freed.Load() {
		if w.used.Load()&^freed&bit == 0 { // a double free, at the very same time
			st.endNote(from)
			return notAllocated(p)
		}
		if w.freed.CompareAndSwap(freed, freed|bit) {
			break
		}
	}
	failpoint.Hit("dsa/free/freed")
	st.endNote(from)
	// The span may be another one by now, if this was its last object. Then what follows finds
	// nothing to do, or does no harm.
	switch state := r.s.state.Load(); stateKind(state) {
	case kindFull:
		if a.heaps[cl.id].usesShared(cl) {
			return a.relistShared(r, cl)
		}
		h := held{r, withKind(state, kindOwned, a.slot+1) + lifeUnit}
		if int(r.s.class.Load()) != cl.id || !r.s.state.CompareAndSwap(state, h.state) {
			return nil
		}
		failpoint.Hit("dsa/free/adopted")
		return a.relistAdopted(h, cl)
	case kindPartial:
		if r.s.allocatedInWord(cl, i>>6) == 0 && r.s.empty(cl) {
			return a.relistShared(r, cl)
		}
	}
	return nil
}

// FreeFrom frees the object that the word owns, as Free does, and makes the word read 0 before the object is free. If
// it fails with ErrPointer there is no such object. In all cases the word reads 0 or what it did before.
func (a *Area) FreeFrom(at Place) error {
	return a.freeContained(0, at)
}

// freedStamp returns what an object bears in its first 8 bytes while it is freed by a session that is not its span's: a
// number that is unlikely to be the object's content, and never 0. A program's own bytes can equal it. Only if such an
// object is also the one that a dead session was freeing, and already another session's, would recovery free it
// wrongly.
//
// It is stored and loaded plainly. While it is stored the object is allocated and the session's to free; it is removed
// by the session that collects the block, before the block can be allocated; and recovery compares it once the session
// is dead. The bits of the block, which are atomic, order these.
func freedStamp(p Pointer) uint64 {
	x := (uint64(p.withSlack(0)) ^ 0x5be1_ac1e_57a3_9d4b) * 0x9e37_79b9_7f4a_7c15
	return x ^ x>>29 | 1
}
