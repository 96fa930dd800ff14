//go:build !linux

package futex

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lobby knows those goroutines of this process that nap, by word, so that it can wake them. Others look by themselves.
var lobby struct {
	mu     sync.Mutex
	asleep map[*atomic.Uint32]map[chan struct{}]struct{}
	number atomic.Int32 // of goroutines
}

func enter(words []Word) (woken chan struct{}) {
	woken = make(chan struct{}, 1)
	lobby.number.Add(1)
	lobby.mu.Lock()
	defer lobby.mu.Unlock()
	if lobby.asleep == nil {
		lobby.asleep = map[*atomic.Uint32]map[chan struct{}]struct{}{}
	}
	for _, w := range words {
		if lobby.asleep[w.W] == nil {
			lobby.asleep[w.W] = map[chan struct{}]struct{}{}
		}
		lobby.asleep[w.W][woken] = struct{}{}
	}
	return woken
}

func leave(words []Word, woken chan struct{}) {
	lobby.mu.Lock()
	for _, w := range words {
		if delete(lobby.asleep[w.W], woken); len(lobby.asleep[w.W]) == 0 {
			delete(lobby.asleep, w.W)
		}
	}
	lobby.mu.Unlock()
	lobby.number.Add(-1)
}

func napHere(ctx context.Context, d, longest time.Duration, words []Word) {
	if !unchanged(words) {
		return
	}
	woken := enter(words)
	defer leave(words, woken)
	nap(ctx, d, longest, woken, words)
}

func wait(w *atomic.Uint32, val uint32, d time.Duration) {
	napHere(context.Background(), d, napBriefly, []Word{{w, val}})
}

func waitLong(ctx context.Context, w *atomic.Uint32, val uint32, d time.Duration) {
	napHere(ctx, d, napLong, []Word{{w, val}})
}

func waitAny(ctx context.Context, d time.Duration, words []Word) {
	napHere(ctx, d, napBriefly, words)
}

// wake says 0: how many of other processes wake up by themselves is not known.
func wake(w *atomic.Uint32, _ int) int {
	if lobby.number.Load() == 0 {
		return 0
	}
	lobby.mu.Lock()
	defer lobby.mu.Unlock()
	for woken := range lobby.asleep[w] {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	return 0
}

// Many reports whether one thread can wait for many words here.
func Many() bool { return false }
