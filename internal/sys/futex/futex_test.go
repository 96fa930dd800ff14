package futex

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const long = time.Hour

// ways are all ways to sleep for one word.
var ways = map[string]func(ctx context.Context, w *atomic.Uint32, val uint32){
	"Wait":     func(_ context.Context, w *atomic.Uint32, val uint32) { Wait(w, val, long) },
	"WaitLong": func(ctx context.Context, w *atomic.Uint32, val uint32) { WaitLong(ctx, w, val, long) },
	"WaitAny":  func(ctx context.Context, w *atomic.Uint32, val uint32) { WaitAny(ctx, long, Word{w, val}) },
	"nap": func(ctx context.Context, w *atomic.Uint32, val uint32) {
		nap(ctx, long, napBriefly, nil, []Word{{w, val}})
	},
}

// TestWake: many goroutines, on words of their own and on a common one, are woken by a change.
func TestWake(t *testing.T) {
	for name, sleep := range ways {
		t.Run(name, func(t *testing.T) {
			const n = 300
			var own [n]atomic.Uint32
			var common, begun atomic.Uint32
			var wg sync.WaitGroup
			for i := range n {
				w := &own[i]
				if i%2 == 0 {
					w = &common
				}
				wg.Go(func() {
					begun.Add(1)
					for w.Load() == 0 {
						sleep(context.Background(), w, 0)
					}
				})
			}
			for begun.Load() < n {
				runtime.Gosched()
			}
			for i := range own {
				own[i].Store(1)
				Wake(&own[i], 1)
			}
			common.Store(1)
			Wake(&common, 1<<30)
			wg.Wait()
		})
	}
}

// TestAnyWord: each of several words ends the wait, and so does the end of the context.
func TestAnyWord(t *testing.T) {
	var hog atomic.Uint32
	for _, direct := range []bool{true, false} {
		if !direct { // another goroutine or process has the direct place
			go Wait(&hog, 0, long)
		}
		for i := range 4 {
			var words [3]atomic.Uint32
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for words[0].Load()+words[1].Load()+words[2].Load() == 0 && ctx.Err() == nil {
					WaitAny(ctx, long, Word{&words[0], 0}, Word{&words[1], 0}, Word{&words[2], 0})
				}
			}()
			runtime.Gosched()
			if i < 3 {
				words[i].Store(1)
				Wake(&words[i], 1)
				<-done
			}
			cancel()
			<-done
		}
	}
	hog.Store(1)
	Wake(&hog, 1)
}

func TestTimeAndValue(t *testing.T) {
	var w atomic.Uint32
	for _, sleep := range ways {
		sleep(context.Background(), &w, 1) // it is 0: nothing to wait for
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	WaitAny(ctx, long, Word{&w, 0}, Word{&w, 0})
	Wait(&w, 0, time.Millisecond)
	WaitLong(ctx, &w, 0, long)
	WaitLong(context.Background(), &w, 0, time.Millisecond)
	WaitAny(context.Background(), time.Millisecond, Word{&w, 0}, Word{&w, 0})
	Wait(&w, 0, -1)
	WaitAny(context.Background(), 0, Word{&w, 0})
}
