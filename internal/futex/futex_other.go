//go:build !linux

package futex

import (
	"context"
	"sync/atomic"
	"time"
)

func wait(w *atomic.Uint32, val uint32, d time.Duration) {
	nap(context.Background(), d, []Word{{w, val}})
}

func waitLong(w *atomic.Uint32, val uint32, d time.Duration) { wait(w, val, d) }

func waitAny(ctx context.Context, d time.Duration, words []Word) { nap(ctx, d, words) }

func wake(*atomic.Uint32, int) int { return 0 }
