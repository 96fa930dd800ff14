package spin

import (
	"sync/atomic"
	"time"
)

// Bounds of a Turns.
const (
	mostTurns = 16
	// longest is when a turn that brought nothing was given to another goroutine or process, who has work to do, and tooLong
	// is that for one that did.
	longest = 100 * time.Microsecond
	tooLong = time.Millisecond
	rest    = 128 // calls without a turn after one that did not help
	// After one that took long it is twice as many as the last time, and half as many after one that helped.
	shortRest, longRest = 16, 1 << 13
)

// Turns is how often it pays to let others run on this CPU before a sleep, as learned so far: where both sides
// share a CPU, the partner then runs at once, and no goroutine has to be put to sleep and woken. The zero value is
// ready; it is safe for concurrent use.
type Turns struct {
	less  atomic.Int32 // than mostTurns
	skips atomic.Int32 // calls to come that don't even try
}

// crowded is how many calls to come, of any Turns of this process, don't even try, since others want this CPU too;
// crowd is how many that was the last time.
var crowded, crowd atomic.Int32

// Until gives turns away until done returns true or it has been enough of them, and reports whether it was done.
func (t *Turns) Until(done func() bool) bool {
	for _, skips := range []*atomic.Int32{&t.skips, &crowded} {
		if skips.Load() > 0 {
			skips.Add(-1)
			return false
		}
	}
	limit := mostTurns - t.less.Load()
	begin := time.Now()
	for range limit {
		yield()
		ok := done()
		switch took := time.Since(begin); {
		case took > tooLong || took > longest && !ok:
			n := min(max(2*crowd.Load(), shortRest), longRest)
			crowd.Store(n)
			crowded.Store(n)
			return ok
		case ok:
			if n := crowd.Load(); n > 0 {
				crowd.Store(n / 2)
			}
			t.less.Store(max(mostTurns-2*limit, 0))
			return true
		}
	}
	if limit = limit / 2; limit == 0 {
		limit = 1
		t.skips.Store(rest)
	}
	t.less.Store(mostTurns - limit)
	return false
}
