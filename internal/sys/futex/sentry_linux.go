package futex

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// sleeper is a goroutine that sleeps on a channel.
type sleeper struct {
	words []Word
	woken chan struct{} // holds one
}

// sentry is a thread that waits in the kernel for the words of many sleepers, and for one of its own. It ends when
// it has had nothing to do for a while.
type sentry struct {
	mu       sync.Mutex
	kick     atomic.Uint32 // its own word, which changes when there is something new
	running  bool
	words    int // of all sleepers
	sleepers map[*sleeper]struct{}
}

var sentries struct {
	mu  sync.Mutex
	all []*sentry
}

func sleepOnChannel(ctx context.Context, d time.Duration, words []Word) {
	if len(words) >= maxVector {
		nap(ctx, d, napBriefly, nil, words)
		return
	}
	s := &sleeper{words, make(chan struct{}, 1)}
	guard := post(s)
	defer guard.dismiss(s)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.woken:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// post gives the sleeper to the first sentry that has room for it.
func post(s *sleeper) *sentry {
	sentries.mu.Lock()
	defer sentries.mu.Unlock()
	for _, g := range sentries.all {
		if g.accept(s) {
			return g
		}
	}
	g := &sentry{sleepers: map[*sleeper]struct{}{}}
	sentries.all = append(sentries.all, g)
	g.accept(s)
	return g
}

func (g *sentry) accept(s *sleeper) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.distinctWith(s); n >= maxVector {
		return false
	}
	g.sleepers[s] = struct{}{}
	g.words += len(s.words)
	g.kick.Add(1)
	if g.running {
		wake(&g.kick, 1)
	} else {
		g.running = true
		go g.run()
	}
	return true
}

// distinctWith returns how many different words there would be. It counts only when it must.
func (g *sentry) distinctWith(s *sleeper) int {
	if n := g.words + len(s.words); n < maxVector {
		return n
	}
	seen := map[*atomic.Uint32]struct{}{}
	for _, w := range s.words {
		seen[w.W] = struct{}{}
	}
	for other := range g.sleepers {
		for _, w := range other.words {
			seen[w.W] = struct{}{}
		}
	}
	return len(seen)
}

func (g *sentry) dismiss(s *sleeper) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropLocked(s)
}

// dropLocked removes s. The caller holds g.mu.
func (g *sentry) dropLocked(s *sleeper) {
	if _, ok := g.sleepers[s]; ok {
		delete(g.sleepers, s)
		g.words -= len(s.words)
	}
}

func (g *sentry) run() {
	debug.SetPanicOnFault(true) // a word may be unmapped under its sleeper
	var words []Word
	for idle := false; ; {
		words = g.survey(words[:0])
		if len(words) == 1 {
			if idle && g.retire() {
				return
			}
			idle = true
		} else {
			idle = false
		}
		if i := kernelWaitAny(words, time.Second); i > 0 {
			g.rouse(words[i].W)
		}
	}
}

// survey wakes those whose words have changed, and lists the words of the others.
func (g *sentry) survey(words []Word) []Word {
	g.mu.Lock()
	defer g.mu.Unlock()
	words = append(words, Word{&g.kick, g.kick.Load()})
	seen := make(map[*atomic.Uint32]struct{}, len(g.sleepers))
	for s := range g.sleepers {
		if !asleep(s) {
			g.releaseLocked(s)
			continue
		}
		for _, w := range s.words {
			if _, ok := seen[w.W]; !ok {
				seen[w.W] = struct{}{}
				words = append(words, w)
			}
		}
	}
	return words
}

// asleep reports whether the words still hold what they did. If they can't be read the sleeper is to find out itself.
func asleep(s *sleeper) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return unchanged(s.words)
}

// rouse wakes all who wait for w.
func (g *sentry) rouse(w *atomic.Uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.sleepers {
		for _, x := range s.words {
			if x.W == w {
				g.releaseLocked(s)
				break
			}
		}
	}
}

// releaseLocked wakes a sleeper and takes it off the list. It does not block: the channel has room for the one token that it
// gets. The caller holds g.mu.
func (g *sentry) releaseLocked(s *sleeper) {
	g.dropLocked(s)
	s.woken <- struct{}{} // no other goroutine does
}

// retire notes that the thread ends, unless a goroutine has come, and reports whether it does.
func (g *sentry) retire() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = len(g.sleepers) > 0
	return !g.running
}
