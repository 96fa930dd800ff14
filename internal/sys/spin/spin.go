// Package spin looks again and again for a short while before a sleep: waking a sleeper costs microseconds, an
// answer from another CPU a fraction of one. Where looking does not help (one CPU for both sides, a slow partner)
// it learns to stop looking.
package spin

import (
	"runtime"
	"sync/atomic"
)

// Bounds of a spin, in looks. A look costs 1 or 2 ns, a sleeper on another CPU some 25 microseconds to wake: so
// the first spin is long enough for a partner who is just waking.
const (
	most  = 20000
	first = 10000
	least = 32
	// every probe-th call of one that has given up tries again, then every 2*probe-th, lastly every probe<<rareness-th
	probe    = 128
	rareness = 6
)

// alone says that no other goroutine runs while we look.
var alone = runtime.NumCPU() == 1

// Budget is how long it pays to look, as learned so far: it doubles with each success and halves with each
// failure. The zero value is ready. It belongs to one process and is safe for concurrent use; a lost
// update costs nothing but time.
type Budget struct {
	looks   atomic.Int32 // plus one; 0 if nothing is known yet
	skipped atomic.Int32
	probes  atomic.Int32 // in vain, since the last success
}

// Until looks until done returns true or the budget is used up, and reports whether it was done. Done must be cheap.
func (b *Budget) Until(done func() bool) bool {
	return b.Unless(func() (bool, bool) { return done(), false })
}

// Unless looks as Until does, and reports whether it was done. Look can also return stop, which ends the spin without a
// lesson about how long to look.
func (b *Budget) Unless(look func() (done, stop bool)) bool {
	if alone {
		return false
	}
	limit := b.looks.Load() - 1
	switch {
	case limit < 0:
		limit = first
	case limit < least:
		if b.skipped.Add(1) < probe<<b.probes.Load() {
			return false
		}
		b.skipped.Store(0)
		b.probes.Store(min(b.probes.Load()+1, rareness))
		limit = first
	}
	for range limit {
		done, stop := look()
		if done {
			b.probes.Store(0)
			b.looks.Store(min(2*limit, most) + 1)
			return true
		}
		if stop {
			return false
		}
	}
	b.looks.Store(limit/2 + 1)
	return false
}
