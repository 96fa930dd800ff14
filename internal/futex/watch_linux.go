package futex

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Watch is a word that is waited for again and again: a thread keeps it among those it waits for, so that a wait costs no more than one on a
// channel. The word must change by more than its lowest bit before whoever changes it calls Wake; a change of that bit alone says nothing.
type Watch struct {
	C    chan struct{} // gets a value when the word has changed; it holds one, and may hold an old one
	word *atomic.Uint32
	seen uint32 // under the watcher's lock
	by   *watcher
}

// watcher is a thread for the words of many watches.
type watcher struct {
	thread
	watches []*Watch
}

var watchers struct {
	mu  sync.Mutex
	all []*watcher
}

// NewWatch begins to watch w. It is nil where the system can't. The watch must be closed before the word is unmapped.
func NewWatch(w *atomic.Uint32) *Watch {
	if !canWaitv() {
		return nil
	}
	x := &Watch{C: make(chan struct{}, 1), word: w, seen: w.Load()}
	watchers.mu.Lock()
	defer watchers.mu.Unlock()
	for _, g := range watchers.all {
		if g.accept(x) {
			return x
		}
	}
	g := &watcher{}
	watchers.all = append(watchers.all, g)
	g.accept(x)
	return x
}

// Notify is what the thread does when the word has changed, done by somebody else.
func (x *Watch) Notify() {
	select {
	case x.C <- struct{}{}:
	default:
	}
}

// Close ends the watch.
func (x *Watch) Close() {
	g := x.by
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.watches, x); i >= 0 {
		g.watches = slices.Delete(g.watches, i, i+1)
		g.tell(g.run)
	}
}

func (g *watcher) accept(x *Watch) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.watches) >= maxVector-1 {
		return false
	}
	x.by = g
	g.watches = append(g.watches, x)
	g.tell(g.run)
	return true
}

func (g *watcher) run() {
	debug.SetPanicOnFault(true) // a word may be unmapped under its watch
	var words []Word
	for {
		var news, any bool
		if words, news, any = g.survey(words[:0]); !any {
			return
		}
		if news {
			runtime.Gosched() // those who have been told come first
		}
		kernelWaitAny(words, time.Second)
	}
}

// survey tells those whose words have changed, and lists all words. Without any the thread ends.
func (g *watcher) survey(words []Word) (_ []Word, news, any bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	words = append(words, Word{&g.kick, g.kick.Load()})
	g.watches = slices.DeleteFunc(g.watches, func(x *Watch) bool {
		v, ok := loaded(x.word)
		if !ok || v>>1 != x.seen>>1 {
			news = true
			x.Notify()
		}
		x.seen = v
		words = append(words, Word{x.word, v})
		return !ok
	})
	g.running = len(g.watches) > 0
	return words, news, g.running
}

// loaded is what the word holds, unless it is gone.
func loaded(w *atomic.Uint32) (v uint32, ok bool) {
	defer func() { ok = recover() == nil }()
	return w.Load(), true
}
