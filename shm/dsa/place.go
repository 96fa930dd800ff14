package dsa

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
)

// Place is a word inside an object that can own an object: AllocInto and FreeFrom change what the word reads
// and who owns the object in one step, whatever instruction is the session's last. So a structure whose words
// outlive its sessions loses nothing to their deaths. The word must be written by no one else meanwhile. The zero
// Place is no word: it reads 0.
type Place struct {
	at   Pointer // of the 16 bytes that the word is in; the slack says which of its halves
	word *atomic.Uint64
}

// nowhere is no place, of a call that is careful already.
var nowhere = Place{at: 1}

// Place returns the word at off, a multiple of 8, in the object p. It is valid as long as the object's bytes are.
func (a *Area) Place(p Pointer, off int) (Place, error) {
	b, err := a.Bytes(p)
	if err != nil {
		return Place{}, err
	}
	if off < 0 || off&7 != 0 {
		return Place{}, errkind.As(ErrSize, fmt.Errorf("dsa: a word at offset %d of an object", off))
	}
	w, err := shm.At[atomic.Uint64](shm.NewRegion(b), shm.Offset(off))
	return Place{p.withSlack(uint64(off)&8) + Pointer(off>>4), w}, err
}

// Pointer returns what the word reads: 0 for none.
func (at Place) Pointer() Pointer {
	if at.word == nil {
		return 0
	}
	return Pointer(at.word.Load())
}

// Clear makes the word read 0. What it owned is nobody's then, or another word's.
func (at Place) Clear() { at.Set(0) }

// Set makes the word own p, which was nobody's, or another word's.
func (at Place) Set(p Pointer) {
	if at.word != nil {
		store(at.word, uint64(p))
	}
}

// AllocInto is Alloc into a word that reads 0.
func (a *Area) AllocInto(n int, at Place) error {
	_, err := a.allocInto(n, at)
	return err
}

// AllocBytesInto allocates as AllocInto does, and returns the object that the word owns then and the object's bytes. It
// does not read the word for that: so what it returns is what it has allocated, even if a stray store changes the word.
func (a *Area) AllocBytesInto(n int, at Place) (p Pointer, b []byte, err error) {
	if p, err = a.allocInto(n, at); err != nil {
		return 0, nil, err
	}
	if b = a.Peek(p); len(b) < n {
		return 0, nil, a.answer(notAllocated(p)) // unmapped meanwhile
	}
	return p, b[:n:n], nil
}

// allocInto allocates in a scope, into a word that there is.
func (a *Area) allocInto(n int, at Place) (Pointer, error) {
	if at.word == nil {
		return 0, fmt.Errorf("dsa: allocate into a place: %w: the zero Place is in no object", ErrPointer)
	}
	return a.allocCarefully(n, at)
}

// FreeFrom frees the object that the word owns, and makes it read 0. If it fails with ErrPointer
// there is no such object; in all cases the word reads 0 or what it did.
func (a *Area) FreeFrom(at Place) error {
	return a.freeCarefully(0, at)
}

// name notes a span, or an object, so that it is seen before what the session loads next: by an exchange, or by the
// fence of who reads it.
func (n *note) name(what uint64, swaps bool) {
	if swaps {
		n.intent.Swap(what)
	} else {
		store(&n.intent, what)
	}
}

// begin notes that the session is about to allocate or free p.
func (n *note) begin(p Pointer, at Place, swaps bool) {
	if at.word != nil {
		store(&n.place, uint64(at.at))
		failpoint.Hit("dsa/note/place")
	}
	n.name(uint64(p.withSlack(intentHeld)), swaps)
}

// rest notes that the session has nothing in its hands.
func (s *stripe) rest(n *note) { store(&n.intent, s.freed&restMask) }

// end notes that it is done. A place is looked at only while there is an intent.
func (s *stripe) end(n *note, at Place) {
	s.rest(n)
	if at.word != nil {
		failpoint.Hit("dsa/note/over")
		store(&n.place, 0)
	}
}

// put makes the word own p: from here on it is the word's, and no longer the session's. Or the other way round, with 0.
func (at Place) put(p Pointer) {
	if at.word != nil {
		store(at.word, uint64(p))
		failpoint.Hit("dsa/note/put")
	}
}

// has reports whether the word at that place owns p.
func (a *Area) has(ctx context.Context, place, p Pointer) (bool, error) {
	if state, life := rowOf(a.rows[place.row()].word.Load()); place == 0 || state != rowLive || life != place.life() {
		return false, nil
	}
	m, err := a.mapRow(ctx, place.row())
	if err != nil {
		return false, err
	}
	off := place.offset() + place.slack()&8
	if off < m.data || off+8 > uint64(len(m.bytes)) {
		return false, nil
	}
	return Pointer(*first(m.bytes, off)).withSlack(0) == p, nil
}

// Recover gives back what dead sessions had in their hands or to themselves, and says how many
// there were. Others do so too, in their time: this is for who has to know that it is done.
func (a *Area) Recover(ctx context.Context) (dead int, err error) {
	err = a.under(ctx, func() error {
		dead, err = a.recoverDead(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return dead, nil
}

// Peek returns the bytes from p to the end of its segment, if that is mapped here; else nothing. It does
// not ask whether there is an object at p, and what it returns may be freed, or even unmapped by
// another goroutine's call, at any time: a fault then. It is for readers who can tell afterwards
// whether it was, and never waits. Who does nothing but peek has to call Current now and then.
func (a *Area) Peek(p Pointer) []byte {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask {
		return nil
	}
	if off := p.offset(); off >= m.data && off < uint64(len(m.bytes)) {
		return m.bytes[off:]
	}
	return nil
}

// Returned counts the segments that went back. While it is the same, and the View has not ended, what Peek has
// returned stays mapped.
func (a *Area) Returned() uint64 {
	if a.head == nil { // the zero Area
		return 0
	}
	return a.head.returned.Load()
}

// Current unmaps what went back since it was last called, as Alloc, Free and Bytes do now and
// then. After Detach it is ErrClosed.
func (a *Area) Current() error {
	if a.Returned() == a.seen.Load() {
		return a.answer(nil)
	}
	return a.after(nil)
}
