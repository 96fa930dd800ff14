package shared

import (
	"context"
	"math/bits"
	"runtime"
	"time"
)

// How long gather waits, and for how many commands: as in package batch, but for callers that have to wake up first.
const (
	gatherPart = 8
	mostGather = time.Millisecond
	restPart   = 4
	gathers    = 128
)

// gather gives those callers time to hand in their next commands that the last flush has answered, as batch.Engine does.
func (l *leader[Cmd, Res]) gather() {
	began, last, most, n := time.Now(), time.Now(), min(l.took/gatherPart, mostGather), 0
	enough := min(int(l.expected.Load()), l.q.options.Batch.MaxRows, gathers)
	for {
		more, now := l.m.countReady(), time.Now()
		if more == 0 || more >= enough || l.q.ctx.Err() != nil {
			return
		}
		if more > n {
			n, last = more, now
		}
		if now.Sub(last) > most/restPart || now.Sub(began) > most {
			return
		}
		runtime.Gosched()
	}
}

// countReady returns how many slots may be ready.
func (m *memory) countReady() (n int) {
	_ = m.contained(func() error {
		for i := range m.ready {
			n += bits.OnesCount64(m.ready[i].Load())
		}
		return nil
	})
	return n
}

// post hands l.posts to the engine, at once, so that one flush has them all.
func (l *leader[Cmd, Res]) post(ctx context.Context) {
	if len(l.posts) > 0 {
		l.engine.PostAll(ctx, l.posts, l.teller)
	}
	clear(l.posts)
	l.posts = l.posts[:0]
}

// tellAll rings those that have been answered. All of the flush are.
func (l *leader[Cmd, Res]) tellAll() {
	l.expected.Store(max(int64(len(l.taken)+l.m.countReady()), l.expected.Load()*3/4))
	l.bell.toll(l.m)
}
