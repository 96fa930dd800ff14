package dsm

import (
	"math/bits"
	"sync"

	"github.com/godsm/godsm/dsmimpl"
)

// guards are the inaccessible ranges that checked mode leaves where segments were mapped, so that a slice kept
// past Detach faults and never reads what is mapped next, in this session or a later one. They cost address space
// and an entry in the kernel's list of mappings, so the oldest go when there are many.
type guards struct {
	mu    sync.Mutex
	kept  []guard // oldest first
	bytes uint64
}

type guard struct {
	mapping dsmimpl.Mapping
	bytes   []byte // the segment's in it
	backend dsmimpl.Guarder
	handle  Handle
	trail   *trail
}

// guarded are those of this process: its sessions share one address space.
var guarded guards

const (
	maxGuards     = 16384                          // a quarter of Linux's default for a process
	maxGuardBytes = 1 << (bits.UintSize*9/16 + 10) // 64 TB, or 256 MB of a 32-bit address space
)

// detach unmaps g's own mapping, leaving a guard where the backend can.
func (q *guards) detach(g *Segment) error {
	m, own := g.session().member, g.trail.own
	guarder, ok := m.Backend.(dsmimpl.Guarder)
	if !ok {
		return m.Unmap(own)
	}
	if guarder.DetachGuarded(own) != nil {
		return m.Unmap(own) // too many mappings, perhaps
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kept = append(q.kept, guard{own, g.attachment.bytes, guarder, g.Handle(), g.trail})
	q.bytes += uint64(len(own.Bytes))
	for len(q.kept) > maxGuards || q.bytes > maxGuardBytes {
		oldest := q.kept[0]
		q.kept = q.kept[1:]
		q.bytes -= uint64(len(oldest.mapping.Bytes))
		if err := oldest.backend.Unguard(oldest.mapping); err != nil {
			return err
		}
	}
	return nil
}

// find says whose guard an address is in.
func (q *guards) find(addr uintptr) (found guard, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, x := range q.kept {
		if within(addr, x.bytes) {
			return x, true
		}
	}
	return guard{}, false
}
