package futex

import (
	"context"
	"sync/atomic"
	"time"
)

// direct is the one place for a goroutine that sleeps in the kernel itself.
var direct atomic.Bool

// brief is a sleep whose end is waited for rather than hearing of the end of a context.
const brief = 2 * time.Millisecond

func wait(w *atomic.Uint32, val uint32, d time.Duration) {
	if direct.CompareAndSwap(false, true) {
		kernelWait(w, val, d)
		direct.Store(false)
		return
	}
	waitLong(context.Background(), w, val, d)
}

func waitLong(ctx context.Context, w *atomic.Uint32, val uint32, d time.Duration) {
	if !canWaitv() {
		kernelWait(w, val, d)
		return
	}
	sleepOnChannel(ctx, d, []Word{{w, val}})
}

func waitAny(ctx context.Context, d time.Duration, words []Word) {
	plain := len(words) == 1 && (ctx.Done() == nil || d <= brief)
	switch {
	case plain:
		wait(words[0].W, words[0].Val, d)
	case !canWaitv():
		nap(ctx, d, napBriefly, nil, words)
	case len(words) < maxVector && direct.CompareAndSwap(false, true):
		waitDirect(ctx, d, words)
		direct.Store(false)
	default:
		sleepOnChannel(ctx, d, words)
	}
}

// waitDirect waits for the words and one more, which the end of the context changes.
func waitDirect(ctx context.Context, d time.Duration, words []Word) {
	if ctx.Done() == nil {
		kernelWaitAny(words, d)
		return
	}
	over := new(atomic.Uint32)
	stop := context.AfterFunc(ctx, func() {
		over.Store(1)
		wake(over, 1)
	})
	defer stop()
	kernelWaitAny(append([]Word{{over, 0}}, words...), d)
}
