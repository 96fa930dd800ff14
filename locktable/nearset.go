package locktable

import (
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// nearSet has the Names of some paths by their hash.
type nearSet struct {
	ways [nearWays]atomic.Pointer[Name]
	// missed are the hashes of paths that were locked and not found here. Any value is harmless.
	missed [nearWays]atomic.Uint64
	next   atomic.Uint32           // the place in missed; any value is harmless, too
	uses   [nearWays]atomic.Uint32 // seq of each Name's own hold when a way was last looked for. Written under pinning
}

// noteMiss notes that a path was not found, and reports whether that happened to it before, not long ago.
func (s *nearSet) noteMiss(hash uint64) bool {
	for i := range s.missed {
		if s.missed[i].Load() == hash {
			return true
		}
	}
	next := s.next.Load() + 1
	ordered.Store32(&s.next, next)
	ordered.Store64(&s.missed[next%nearWays], hash)
	return false
}

// placeForAnother returns a place of the set for another Name, -1 if there is none: an empty one, or that of a Name
// that was not used since a place was last looked for, which is released.
func (s *nearSet) placeForAnother() int {
	for i := range s.ways {
		if s.ways[i].Load() == nil {
			return i
		}
	}
	for i := range s.ways {
		n := s.ways[i].Load()
		seq := n.own.seq.Load()
		if was := s.uses[i].Swap(seq); was == seq && n.releaseIfUnused() {
			s.ways[i].Store(nil)
			return i
		}
	}
	return -1
}
