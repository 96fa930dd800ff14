package spin

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// mostRounds are gone before a sleep, each of half a microsecond if no goroutine has anything to do.
	mostRounds = 40
	// busy is how long a round takes at least if others of this process had something to do.
	busy = 2 * time.Microsecond
	// taken is when this CPU was given to another goroutine or process, who has more to do.
	taken = 2 * time.Millisecond
)

// Rounds is for one of many goroutines that wait: before a sleep it lets first the others of its process run for a
// short while, then other processes, so that all who are on this CPU get something done and no goroutine has to be put
// to sleep and woken. It learns where that is in vain. The zero value is ready; it is safe for concurrent use.
type Rounds struct{ own lesson }

// rivals is learned from all Rounds of this process: whether others want this CPU, too.
var rivals lesson

// Until goes round until look returns done or stop, or it has been enough, and reports whether it was done. Look must be
// cheap.
func (r *Rounds) Until(look func() (done, stop bool)) bool {
	if r.own.skip() || rivals.skip() {
		return false
	}
	for rounds := 0; ; rounds++ {
		done, stop := look()
		switch {
		case done:
			r.own.better()
			rivals.better()
			return true
		case stop:
			return false
		case rounds == mostRounds:
			r.own.worse(8)
			return false
		}
		begin := time.Now()
		if runtime.Gosched(); time.Since(begin) > busy {
			continue // they may do what we wait for
		}
		if yield(); time.Since(begin) > taken {
			rivals.worse(13)
			done, _ := look()
			return done
		}
	}
}

// lesson is how often something was in vain lately. After patience times one try is left out, then two, then four.
type lesson struct{ vain, skips atomic.Int32 }

const patience = 3

func (l *lesson) skip() bool {
	if l.skips.Load() <= 0 {
		return false
	}
	l.skips.Add(-1)
	return true
}

func (l *lesson) better() {
	if n := l.vain.Load(); n > 0 {
		l.vain.Store(n / 2)
	}
}

// worse leaves out up to 1<<most tries.
func (l *lesson) worse(most int32) {
	n := min(l.vain.Load(), patience+most)
	l.vain.Store(n + 1)
	if n >= patience {
		l.skips.Store(1 << (n - patience))
	}
}
