package dsm

import (
	"errors"
	"math/bits"
	"runtime"
	"sync"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/shm"
)

// ranges are the address ranges of this process in which bytes were mapped that have ended. They hold private pages or,
// in checked mode, are inaccessible or, where neither is possible, they hold the bytes themselves. What is kept too
// long, such as a slice or a structure, reaches those and never what would be mapped next, in this session or a later
// one.
//
// They cost address space and an entry in the kernel's list of mappings; on some systems they cost memory, too. So the
// newest stay, and older ones only as long as a View of them is in use. What a structure refers to holds its View; a
// slice does not.
type ranges struct {
	mu     sync.Mutex
	newest []*formerRange // oldest first
	bytes  uint64         // of newest
	// held are the bytes of those of newest that take memory.
	held uint64
	// viewed counts, in bytes, the ranges with a view that take memory, since the garbage collector was last asked to
	// run.
	viewed uint64
}

// formerRange is one of them. The goroutine that makes it fills it in; from add on only the fields under ranges.mu
// change.
type formerRange struct {
	// mapping is the address range, as the backend knows it.
	mapping dsmimpl.Mapping
	// part are the bytes in mapping that have a view; nil if none has.
	part []byte
	// give ends the range: it is the backend's Unswap, Unguard or Detach.
	give func(dsmimpl.Mapping) error
	// holds means that the range takes the memory that its object took: it counts against maxHeldBytes.
	holds bool

	// Under ranges.mu: viewed means that the view is in use.
	viewed bool
	// old means that it is not among the newest.
	old bool
}

// former holds the ranges of this process: its sessions share one address space.
var former ranges

const (
	// maxRanges is a quarter of Linux's default limit of mappings in a process.
	maxRanges = 16384
	// maxRangeBytes is 64 TB, or 256 MB of a 32-bit address space.
	maxRangeBytes = 1 << (bits.UintSize*9/16 + 10)
	maxHeldBytes  = 64 << 20
)

// add takes a range; v is the view of it, if there is one. If there are too many ranges then, the oldest leave the
// newest, and those of them whose views are not in use are given back; add returns the errors of that. The others go
// when the garbage collector finds their views unused. The collector knows nothing of the memory that ranges take, so
// after enough of it add asks it to run.
func (q *ranges) add(r *formerRange, v *shm.View) error {
	if v != nil {
		r.viewed = true
		runtime.AddCleanup(v, q.viewCollected, r)
	}
	size := uint64(len(r.mapping.Bytes))
	q.mu.Lock()
	if !r.old {
		q.newest = append(q.newest, r)
		q.bytes += size
		if r.holds {
			q.held += size
		}
	}
	over := q.ageLocked(maxRanges, maxRangeBytes, maxHeldBytes)
	if v != nil && r.holds {
		q.viewed += max(size, maxHeldBytes/1024)
	}
	ask := q.viewed >= maxHeldBytes
	if ask {
		q.viewed = 0
	}
	q.mu.Unlock()
	if ask {
		go runtime.GC()
	}
	return giveRangesBack(over)
}

// ageLocked takes the oldest from the newest until there are no more than those limits, and returns those that can be
// given back. The others are given back by viewCollected. The caller holds q.mu, and calls giveRangesBack when it has
// released it.
func (q *ranges) ageLocked(count int, bytes, held uint64) (over []*formerRange) {
	for len(q.newest) > count || q.bytes > bytes || q.held > held {
		r := q.newest[0]
		q.newest[0] = nil
		q.newest = q.newest[1:]
		q.bytes -= uint64(len(r.mapping.Bytes))
		if r.holds {
			q.held -= uint64(len(r.mapping.Bytes))
		}
		r.old = true
		if !r.viewed {
			over = append(over, r)
		}
	}
	return over
}

// viewCollected is called, by a cleanup of the garbage collector, once the view of r is in use no longer.
func (q *ranges) viewCollected(r *formerRange) {
	q.mu.Lock()
	r.viewed = false
	old := r.old
	q.mu.Unlock()
	if old {
		_ = giveRangesBack([]*formerRange{r})
	}
}

// makeRoom gives back all ranges whose views are not in use, for a caller to which the system has refused another
// mapping.
func (q *ranges) makeRoom() {
	q.mu.Lock()
	over := q.ageLocked(0, 0, 0)
	q.mu.Unlock()
	_ = giveRangesBack(over)
}

// giveRangesBack ends ranges. It calls the backend, so it is called without locks.
func giveRangesBack(list []*formerRange) error {
	var errs []error
	for _, r := range list {
		// Without its note in package shm first: the addresses may be another mapping's as soon as they are given back.
		shm.Forget(r.part)
		errs = append(errs, panicAsErr(func() error { return r.give(r.mapping) }))
	}
	return errors.Join(errs...)
}

// withdrawMapping takes a mapping away from the goroutines of this process, in the middle of what they do: its range
// stays, of private pages or inaccessible. Part are the bytes in it that v is a view of, if there is one; late makes
// the error of a use after the end, in checked mode.
//
// What can't be withdrawn stays mapped as long as the view is in use; then now is false. Where the object can be let go
// of all the same it stays longer, unless it is shared with other segments, as the reserved region is. Without a view,
// and elsewhere, it is unmapped at once.
func (s *Session) withdrawMapping(m dsmimpl.Mapping, shared bool, part []byte, v *shm.View,
	late func(at int) error) (now bool, err error) {
	r := &formerRange{mapping: m, part: part}
	replace := s.replaceRangeCall(r)
	if s.checked && late != nil && replace != nil { // before the first access that faults
		shm.Explain(part, late)
	}
	if replace != nil && panicAsErr(replace) != nil {
		// The system may have refused for too many mappings: old ranges are given back, and it is tried once more.
		former.makeRoom()
		if panicAsErr(replace) != nil {
			replace = nil
			shm.Explain(part, nil)
		}
	}
	loosens := s.canLoosenRange()
	switch {
	case replace != nil:
		s.loosenRange(r)
		return true, former.add(r, v)
	// No structure knows the bytes, and what a slice does late was never promised here.
	case v == nil && (shared || !loosens):
		shm.Forget(part)
		return true, s.member.Books.Unmap(m)
	}
	r.give, r.holds = s.member.Books.Backend.Detach, true
	r.old = shared || !loosens
	s.loosenRange(r)
	return false, former.add(r, v)
}

// canLoosenRange reports whether the backend can let go of an object whose bytes stay mapped.
func (s *Session) canLoosenRange() bool {
	_, is := s.member.Books.Backend.(dsmimpl.Loosener)
	return is
}

// loosenRange lets go of the object of r, where the backend can. Then the mapped bytes are what takes its memory.
func (s *Session) loosenRange(r *formerRange) {
	if b, ok := s.member.Books.Backend.(dsmimpl.Loosener); ok {
		r.holds = true
		_ = panicAsErr(func() error { r.mapping = b.Loosen(r.mapping); return nil })
	}
}

// canReplaceRange reports whether the backend can withdraw mappings at all.
func (s *Session) canReplaceRange() bool { return s.replaceRangeCall(&formerRange{}) != nil }

// replaceRangeCall returns the call that replaces the pages of r, and sets r.give to what ends that. It is nil if the
// backend can't: then bytes stay mapped as long as they may be in use.
func (s *Session) replaceRangeCall(r *formerRange) func() error {
	if s.checked {
		if b, ok := s.member.Books.Backend.(dsmimpl.Guarder); ok {
			r.give = b.Unguard
			return func() error { return b.DetachGuarded(r.mapping) }
		}
	}
	if b, ok := s.member.Books.Backend.(dsmimpl.Swapper); ok {
		r.give = b.Unswap
		return func() error { return b.Swap(r.mapping, 0, len(r.mapping.Bytes)) }
	}
	return nil
}
