package dsm

import (
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/shm"
)

// ranges are the address ranges of this process in which bytes were mapped that have ended: private pages of
// zeros or, in checked mode, inaccessible. What is kept too long, such as a slice or a structure, reaches those and
// never what would be mapped next, in this session or a later one.
//
// They cost address space and an entry in the kernel's list of mappings. So the newest stay, and older ones only as
// long as a View of them is in use. What a structure refers to holds its View; a slice does not.
type ranges struct {
	mu     sync.Mutex
	newest []*formerRange // oldest first
	bytes  uint64         // of newest
	mapped uint64         // bytes of addMapped since the collector was asked
}

// formerRange is one of them.
type formerRange struct {
	mapping dsmimpl.Mapping
	part    []byte // that has a view; nil if none has
	give    func(dsmimpl.Mapping) error

	// Under ranges.mu:
	viewed bool // the view is in use
	old    bool // it is not among the newest
}

// former are those of this process: its sessions share one address space.
var former ranges

const (
	maxRanges     = 16384                          // a quarter of Linux's default for a process
	maxRangeBytes = 1 << (bits.UintSize*9/16 + 10) // 64 TB, or 256 MB of a 32-bit address space
	maxMapped     = 64 << 20
)

// add takes a range that has been swapped, or made inaccessible; v is the view of it, if there is one.
func (q *ranges) add(r *formerRange, v *shm.View) error {
	if v != nil {
		r.viewed = true
		runtime.AddCleanup(v, q.unviewed, r)
	}
	q.mu.Lock()
	q.newest = append(q.newest, r)
	q.bytes += uint64(len(r.mapping.Bytes))
	over := q.ageLocked(maxRanges, maxRangeBytes)
	q.mu.Unlock()
	return giveRangesBack(over)
}

// addMapped takes a range that could not be swapped. It is unmapped when its view is in use no longer. The garbage
// collector, which tells that, knows nothing of the memory, so now and then it is asked.
func (q *ranges) addMapped(r *formerRange, v *shm.View) {
	r.viewed, r.old = true, true
	runtime.AddCleanup(v, q.unviewed, r)
	q.mu.Lock()
	q.mapped += max(uint64(len(r.mapping.Bytes)), maxMapped/1024)
	ask := q.mapped >= maxMapped
	if ask {
		q.mapped = 0
	}
	q.mu.Unlock()
	if ask {
		go runtime.GC()
	}
}

// ageLocked takes the oldest from the newest, under the lock of q, until there are no more than those limits, and returns
// those that can be given back.
func (q *ranges) ageLocked(count int, bytes uint64) (over []*formerRange) {
	for len(q.newest) > count || q.bytes > bytes {
		r := q.newest[0]
		q.newest[0] = nil
		q.newest = q.newest[1:]
		q.bytes -= uint64(len(r.mapping.Bytes))
		r.old = true
		if !r.viewed {
			over = append(over, r)
		}
	}
	return over
}

// unviewed is called once the view of r is in use no longer.
func (q *ranges) unviewed(r *formerRange) {
	q.mu.Lock()
	r.viewed = false
	old := r.old
	q.mu.Unlock()
	if old {
		_ = giveRangesBack([]*formerRange{r})
	}
}

// makeRoom gives back all ranges that are not in use, for one who is refused more.
func (q *ranges) makeRoom() {
	q.mu.Lock()
	over := q.ageLocked(0, 0)
	q.mu.Unlock()
	_ = giveRangesBack(over)
}

func giveRangesBack(list []*formerRange) error {
	var errs []error
	for _, r := range list {
		shm.Forget(r.part)
		errs = append(errs, tamed(func() error { return r.give(r.mapping) }))
	}
	return errors.Join(errs...)
}

// tamed makes a panic of a backend an error.
func tamed(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the backend panicked: %v", p)
		}
	}()
	return f()
}

// withdraw takes a mapping away from the goroutines of this process, whatever they are at: its range stays, of private
// zeros or inaccessible. Part are the bytes in it that v is a view of, if there is one. What can't be withdrawn is
// unmapped, at once if it has no view, and else when that is in use no longer; then now is false.
func (s *Session) withdraw(m dsmimpl.Mapping, part []byte, v *shm.View, late func(at int) error) (now bool, err error) {
	r := &formerRange{mapping: m, part: part}
	replace := s.replacement(r)
	if replace != nil && tamed(replace) != nil {
		former.makeRoom() // it was refused for too many mappings, perhaps
		if tamed(replace) != nil {
			replace = nil
		}
	}
	switch {
	case replace != nil:
		if s.checked && late != nil {
			shm.Explain(part, late)
		}
		return true, former.add(r, v)
	case v == nil || unmapsAtOnce:
		shm.Forget(part)
		return true, s.member.Unmap(m)
	}
	r.give = s.member.Backend.Detach
	former.addMapped(r, v)
	return false, nil
}

// unmapsAtOnce: on Windows, where nothing can be swapped, bytes are unmapped at the end, as they are without a view. To keep
// them until the view is collected would keep the session listed as long.
const unmapsAtOnce = runtime.GOOS == "windows"

// replaces reports whether the backend can withdraw mappings at all.
func (s *Session) replaces() bool { return s.replacement(&formerRange{}) != nil }

// replacement returns the call that puts something else in the place of r, and tells r how to give that back. It is
// nil if the backend can't.
func (s *Session) replacement(r *formerRange) func() error {
	if s.checked {
		if b, ok := s.member.Backend.(dsmimpl.Guarder); ok {
			r.give = b.Unguard
			return func() error { return b.DetachGuarded(r.mapping) }
		}
	}
	if b, ok := s.member.Backend.(dsmimpl.Swapper); ok {
		r.give = b.Unswap
		return func() error { return b.Swap(r.mapping, 0, len(r.mapping.Bytes)) }
	}
	return nil
}
