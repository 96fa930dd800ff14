package dsa

import (
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
)

// A program that stores a Pointer in shared memory after Alloc can die between the two, and the object is lost: it is
// allocated, and no word leads to it. A Place closes that gap. The session notes the word beside the object before it
// allocates; the session that recovers it looks whether the word leads to the object, and frees the object if not.

// Place is a word inside an object that can own an object: AllocInto and FreeFrom change what the word reads
// and who owns the object in one step, whatever instruction is the session's last. So a structure whose words
// outlive its sessions loses nothing to their deaths. While such a call is in flight no other may write the word: the
// structure has a lock for that. The zero Place is no word: it reads 0, and stores do nothing.
type Place struct {
	// at is the pointer of the 16 bytes that the word is in. Its slack is 0 or 8, for the lower or the upper half.
	at   Pointer
	word *atomic.Uint64
}

// nowhere is no word, like the zero Place. It marks a call that runs in a scope already: alloc and free begin one only
// for the zero Place, and would call themselves for ever otherwise.
var nowhere = Place{at: 1}

// Place returns the word at off, a multiple of 8, in the object p. It is valid as long as the object's bytes are: see
// Bytes, whose errors it has. An offset that is no multiple of 8 is ErrSize, one behind the object's end ErrCorrupt.
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

// Clear makes the word read 0. What it owned belongs to no word then, or to another one; the caller ensures that.
func (at Place) Clear() { at.Set(0) }

// Set makes the word own p, which belonged to no word, or to another one that the caller clears. It is one store, and
// notes nothing: so to move an object from one word to another, Set the new one first, and Clear the old one then. A
// death in between leaves two words that lead to the object, which the structure that has them can tell; in the other
// order it would leave none.
func (at Place) Set(p Pointer) {
	if at.word != nil {
		storeOrdered(at.word, uint64(p))
	}
}

// AllocInto allocates n bytes, as Alloc does, and stores the object's Pointer in a word that reads 0. If it returns an
// error the word still reads 0; if the process dies, the word either owns the object or the object is recovered. The
// zero Place is ErrPointer.
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
		return 0, nil, a.orClosed(notAllocated(p)) // unmapped meanwhile
	}
	return p, b[:n:n], nil
}

// allocInto allocates in a scope, into a word that there is.
func (a *Area) allocInto(n int, at Place) (Pointer, error) {
	if at.word == nil {
		return 0, fmt.Errorf("dsa: allocate into a place: %w: the zero Place is in no object", ErrPointer)
	}
	return a.allocContained(n, at)
}

// FreeFrom frees the object that the word owns, as Free does, and makes the word read 0 before the object is free. If
// it fails with ErrPointer there is no such object. In all cases the word reads 0 or what it did before.
func (a *Area) FreeFrom(at Place) error {
	return a.freeContained(0, at)
}

// put makes the word own p, which the session's note names: from this store on the object is the word's, and no longer
// the session's. With 0 it is the other way round. The caller has the stripe of the note.
func (at Place) put(p Pointer) {
	if at.word != nil {
		storeOrdered(at.word, uint64(p))
		failpoint.Hit("dsa/note/put")
	}
}
