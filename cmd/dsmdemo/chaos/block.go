package chaos

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/shm/shmsync"
)

// block is checksummed data that tells a dead writer's half-written content from content that is
// wrong. The writer stores begin, the data, their sum, and end, in this order; begin and end are
// the same stamp only in a block that its writer has declared finished, and only such a block is
// judged. Begin is stored by compare-and-swap, and over an unfinished block only once its writer
// is dead, so a block has one writer at a time. All is atomic: readers take no lock.
//
// A block that was never written is all zero, as a new segment must be.
type block struct {
	_     structs.HostLayout
	begin atomic.Uint64 // stamp
	end   atomic.Uint64
	sum   atomic.Uint64
	words [61]atomic.Uint64
}

const blockSize = 512

// stamp is a writer and the number of its writing: bits 0-31 the number, 32-51 the incarnation, 52-63 the row plus one.
type stamp uint64

func newStamp(h shmsync.Peer, seq uint32) stamp {
	return stamp(uint64(h.Row+1)<<52 | uint64(h.Incarnation&shmsync.MutexIncarnationMask)<<32 | uint64(seq))
}

func (s stamp) writer() shmsync.Peer {
	return shmsync.Peer{Row: int(s>>52) - 1, Incarnation: uint32(s>>32) & shmsync.MutexIncarnationMask}
}

// claim makes s the block's writing and reports whether it did: not if a living writer is at work on the block, or another
// one has begun at the same moment.
func (b *block) claim(s stamp, alive func(shmsync.Peer) bool) bool {
	begin := b.begin.Load()
	if begin != b.end.Load() && alive(stamp(begin).writer()) {
		return false
	}
	return b.begin.CompareAndSwap(begin, uint64(s))
}

// fill writes what follows from the stamp and where the block lies; the caller has claimed it.
func (b *block) fill(s stamp, place uint64) {
	sum := mix(uint64(s) ^ place)
	for i := range b.words {
		w := mix(uint64(s) + place + uint64(i))
		b.words[i].Store(w)
		sum = mix(sum ^ w)
	}
	b.sum.Store(sum)
	b.end.Store(uint64(s))
}

type verdict int

const (
	unfinished verdict = iota // being written, or its writer died
	right
	wrong
)

// judge reads the block. The sum covers where it lies, so another segment's bytes are wrong here.
func (b *block) judge(place uint64) verdict {
	s := b.begin.Load()
	if s != b.end.Load() {
		return unfinished
	}
	want, or := mix(s^place), uint64(0)
	for i := range b.words {
		w := b.words[i].Load()
		want, or = mix(want^w), or|w
	}
	sum := b.sum.Load()
	switch {
	case b.begin.Load() != s:
		return unfinished
	case s == 0 && or|sum == 0, s != 0 && sum == want:
		return right
	}
	return wrong
}

// mix returns the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
