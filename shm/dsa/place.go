package dsa

import (
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
	if at.word == nil {
		return fmt.Errorf("dsa: allocate into a place: %w: the zero Place is in no object", ErrPointer)
	}
	_, err := a.allocCarefully(n, at)
	return err
}

// FreeFrom frees the object that the word owns, and makes it read 0. If it fails with ErrPointer
// there is no such object; in all cases the word reads 0 or what it did.
func (a *Area) FreeFrom(at Place) error {
	return a.freeCarefully(0, at)
}

// put makes the word own p: from here on it is the word's, and no longer the session's. Or the other way round, with 0.
func (at Place) put(p Pointer) {
	if at.word != nil {
		store(at.word, uint64(p))
		failpoint.Hit("dsa/note/put")
	}
}
