package dsm

import (
	"sync"

	"github.com/godsm/godsm/dsmimpl"
)

// guards are the inaccessible ranges that checked mode leaves where segments were mapped, so that a slice kept past Detach
// faults and never reads what is mapped next. They cost address space and an entry in the kernel's list of
// mappings, so the oldest go when there are many.
type guards struct {
	mu   sync.Mutex
	kept []dsmimpl.Mapping // oldest first
}

const maxGuards = 16384 // a quarter of Linux's default for a process

// detach unmaps, leaving a guard where the backend can.
func (q *guards) detach(b dsmimpl.Backend, m dsmimpl.Mapping) error {
	guarder, ok := b.(dsmimpl.Guarder)
	if !ok {
		return b.Detach(m)
	}
	if err := guarder.DetachGuarded(m); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kept = append(q.kept, m)
	if len(q.kept) > maxGuards {
		oldest := q.kept[0]
		q.kept = q.kept[1:]
		return guarder.Unguard(oldest)
	}
	return nil
}

// clear is for the end of the session.
func (q *guards) clear(b dsmimpl.Backend) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.kept {
		_ = b.(dsmimpl.Guarder).Unguard(m)
	}
	q.kept = nil
}
