package dsa

import (
	"context"
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

// placeOwnsLocked reports whether the word at that place owns p. The caller holds the area's lock. A place is a number
// in shared memory: one in a segment that is gone, or outside the segment's chunks, owns nothing. The word is compared
// without the slack, which the note's intent has used for its own.
func (a *Area) placeOwnsLocked(ctx context.Context, place, p Pointer) (bool, error) {
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
	return Pointer(*wordAt(m.bytes, off)).withSlack(0) == p, nil
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

// put makes the word own p, which the session's note names: from this store on the object is the word's, and no longer
// the session's. With 0 it is the other way round. The caller has the stripe of the note.
func (at Place) put(p Pointer) {
	if at.word != nil {
		storeOrdered(at.word, uint64(p))
		failpoint.Hit("dsa/note/put")
	}
}
