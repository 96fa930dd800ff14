package shmsync_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// office is mailboxes of some sessions of one process.
type office struct {
	words []shmsync.MailboxWord
	boxes []*shmsync.Mailbox
}

func newOffice(n int, bytes *shm.View, view *shm.View) *office {
	var w world
	o := &office{words: make([]shmsync.MailboxWord, n)}
	for row := range n {
		self := w.self(row)
		self.View = view
		o.boxes = append(o.boxes, shmsync.NewMailbox(o.words, bytes, self))
	}
	return o
}

func (o *office) ring(row int, bits ...uint32) {
	o.boxes[len(o.boxes)-1].Ring(shmsync.Peer{Row: row}, bits...)
}

// untilDealt waits until the dealer of a row sleeps.
func (o *office) untilDealt(row int) {
	for !o.words[row].DealerSleeps() {
		runtime.Gosched()
	}
}

func TestMailboxRingBeforeWaitIsKept(t *testing.T) {
	o := newOffice(2, nil, nil)
	b := o.boxes[0].Take()
	defer b.Release()
	if b.Ready() {
		t.Error("rung by none")
	}
	o.ring(0, b.Number())
	if err := b.Wait(ctx); err != nil {
		t.Error(err)
	}
	o.ring(0, b.Number())
	if !b.Ready() || b.Ready() {
		t.Error("Ready does not tell of one ring once")
	}
}

// TestMailboxWakesEveryoneWhoseAnswerIsThere: many goroutines ask other goroutines, which play other processes, and each
// ring is answered, whichever of them is the dealer.
func TestMailboxWakesEveryoneWhoseAnswerIsThere(t *testing.T) {
	const waiters, rounds = 200, 50
	o := newOffice(2, nil, nil)
	type question struct {
		bit    uint32
		answer *atomic.Uint32
	}
	asked := make(chan question, waiters)
	var ringers, wg sync.WaitGroup
	for range 3 {
		ringers.Go(func() {
			for q := range asked {
				if rand.N(4) == 0 {
					runtime.Gosched()
				}
				q.answer.Store(1)
				o.ring(0, q.bit)
			}
		})
	}
	for range waiters {
		wg.Go(func() {
			for range rounds {
				b := o.boxes[0].Take()
				var answer atomic.Uint32
				asked <- question{b.Number(), &answer}
				c, cancel := context.WithTimeout(ctx, time.Duration(rand.N(2000))*time.Microsecond)
				var err error
				for answer.Load() == 0 && err == nil {
					err = b.Wait(c) // which may be over: then without
				}
				cancel()
				for answer.Load() == 0 {
					if err := b.Wait(ctx); err != nil {
						t.Error(err)
						break
					}
				}
				b.Release()
			}
		})
	}
	wg.Wait()
	close(asked)
	ringers.Wait()
}

func TestMailboxDealerHandsItsRoleOn(t *testing.T) {
	o := newOffice(2, nil, nil)
	first, second := o.boxes[0].Take(), o.boxes[0].Take()
	c, cancel := context.WithCancelCause(ctx)
	over := errors.New("over")
	ended := make(chan error)
	go func() { ended <- wait(first, c, &atomic.Bool{}) }()
	o.untilDealt(0)
	var answer atomic.Bool
	answered := make(chan error)
	go func() { answered <- wait(second, ctx, &answer) }()
	cancel(over)
	if err := <-ended; !errors.Is(err, over) {
		t.Errorf("Wait = %v, want the context's cause", err)
	}
	o.untilDealt(0)
	answer.Store(true)
	o.ring(0, second.Number())
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// wait waits for the answer.
func wait(b shmsync.Bit, c context.Context, answer *atomic.Bool) (err error) {
	for !answer.Load() && err == nil {
		err = b.Wait(c)
	}
	return err
}

func TestMailboxBitsAreSharedWhenAllAreTaken(t *testing.T) {
	o := newOffice(2, nil, nil)
	var bits []shmsync.Bit
	at := map[uint32]int{}
	for range 2*shmsync.MailboxBits + 10 {
		b := o.boxes[0].Take()
		bits = append(bits, b)
		at[b.Number()]++
	}
	if len(at) != shmsync.MailboxBits {
		t.Errorf("%d different bits", len(at))
	}
	for n, k := range at {
		if n >= shmsync.MailboxBits || k < 2 || k > 3 {
			t.Errorf("bit %d was taken %d times", n, k)
		}
	}
	o.ring(0, bits[5].Number())
	for i, b := range bits {
		if b.Ready() != (b.Number() == bits[5].Number()) {
			t.Errorf("the %dth, with bit %d", i, b.Number())
		}
		b.Release()
		b.Release()
	}
	at = map[uint32]int{}
	for range shmsync.MailboxBits {
		at[o.boxes[0].Take().Number()]++
	}
	if len(at) != shmsync.MailboxBits {
		t.Errorf("%d different bits after all were released", len(at))
	}
}

func TestMailboxReleasedBit(t *testing.T) {
	o := newOffice(2, nil, nil)
	old := o.boxes[0].Take()
	old.Release()
	fresh := o.boxes[0].Take()
	if fresh.Number() != old.Number() {
		t.Fatal("another bit")
	}
	o.ring(0, old.Number()) // late: for nothing, and harmless
	if !fresh.Ready() || old.Ready() {
		t.Error("the ring is not the one's who has the bit")
	}
	if err := old.Wait(ctx); !errors.Is(err, shmsync.ErrNotOwner) {
		t.Errorf("Wait of a released bit = %v", err)
	}
	old.Release()
	o.ring(0, fresh.Number())
	if err := fresh.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func TestMailboxWaitsEndWithTheSession(t *testing.T) {
	for _, name := range []string{"view", "bytes"} {
		t.Run(name, func(t *testing.T) {
			view, bytes := (*shm.View)(nil).Sub(), (*shm.View)(nil).Sub()
			o := newOffice(2, bytes, view)
			ended := make(chan error)
			const n = 5
			var bits []shmsync.Bit
			for range n {
				b := o.boxes[0].Take()
				bits = append(bits, b)
				go func() { ended <- wait(b, ctx, &atomic.Bool{}) }()
			}
			o.untilDealt(0)
			ends := map[string]*shm.View{"view": view, "bytes": bytes}[name]
			ends.End()
			for range n {
				if err := <-ended; !errors.Is(err, shmsync.ErrClosed) {
					t.Errorf("Wait = %v, want ErrClosed", err)
				}
			}
			drained := make(chan struct{})
			bytes.End()
			bytes.Drain(func() { close(drained) })
			<-drained
			clear(o.words) // as if the bytes were gone
			for _, b := range bits {
				o.ring(0, b.Number())
				if err := b.Wait(ctx); !errors.Is(err, shmsync.ErrClosed) || b.Ready() {
					t.Errorf("Wait after the end = %v", err)
				}
				b.Release()
			}
			o.boxes[0].Nudge()
			o.boxes[0].Take().Release()
			if o.words[0].Ring(); o.words[0] != *new(shmsync.MailboxWord) {
				t.Error("the word was touched after its end")
			}
		})
	}
}

// TestMailboxRingThatDiesIsLate: what a ringer leaves that dies at some step is found by the beat, and after each death.
func TestMailboxRingThatDiesIsLate(t *testing.T) {
	for _, nudge := range []bool{true, false} {
		o := newOffice(2, nil, nil)
		b := o.boxes[0].Take()
		var answer atomic.Bool
		done := make(chan error)
		go func() { done <- wait(b, ctx, &answer) }()
		o.untilDealt(0)
		answer.Store(true)
		o.words[0].Mark(b.Number())
		if nudge {
			o.boxes[0].Nudge()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestMailboxGarbledWakesForNothingAtWorst(t *testing.T) {
	for name, garble := range map[string]func(w *shmsync.MailboxWord){
		"ones":  func(w *shmsync.MailboxWord) { w.Garble(1<<32-1, 1<<32-1, 1<<64-1) },
		"zeros": func(w *shmsync.MailboxWord) { w.Garble(0, 0, 0) },
		"sleep": func(w *shmsync.MailboxWord) { w.Garble(1, 0, 0) },
		"sum":   func(w *shmsync.MailboxWord) { w.Garble(0, 1<<31, 0) },
		"bits":  func(w *shmsync.MailboxWord) { w.Garble(7, 0, 1<<64-1) },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(2, nil, nil)
			var answers [3]atomic.Bool
			done := make(chan error)
			var bits []shmsync.Bit
			for i := range answers {
				b := o.boxes[0].Take()
				bits = append(bits, b)
				go func() { done <- wait(b, ctx, &answers[i]) }()
			}
			o.untilDealt(0)
			garble(&o.words[0])
			for i, b := range bits {
				answers[i].Store(true)
				o.ring(0, b.Number(), 1<<20+5)
			}
			for range bits {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMailboxRingsNobody(t *testing.T) {
	o := newOffice(1, nil, nil)
	for _, row := range []int{-1, 1, 1 << 30} {
		o.ring(row, 1)
	}
	(*shmsync.Mailbox)(nil).Ring(shmsync.Peer{}, 1)
}

func TestMailboxTellsItsWatcher(t *testing.T) {
	w := &newOffice(1, nil, nil).words[0]
	w.Tell(shmsync.NewsAsk)
	w.Tell(shmsync.NewsEnd)
	if n := w.Listen(ctx, time.Hour); n != shmsync.NewsAsk|shmsync.NewsEnd {
		t.Errorf("told of %d", n)
	}
	go w.Tell(shmsync.NewsDeath)
	for n := shmsync.News(0); n == 0; {
		n = w.Listen(ctx, time.Hour)
	}
	if n := w.Listen(ctx, time.Millisecond); n != 0 {
		t.Errorf("told of %d for nothing", n)
	}
}

// TestMailboxIdleHasNoGoroutine: while no process waits there is none.
func TestMailboxIdleHasNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	o := newOffice(2, nil, nil)
	b := o.boxes[0].Take()
	done := make(chan error)
	go func() { done <- b.Wait(ctx) }()
	o.untilDealt(0)
	o.ring(0, b.Number())
	<-done
	for runtime.NumGoroutine() > before { // the sleep's own may be on their way out
		runtime.Gosched()
	}
}

func BenchmarkMailbox(b *testing.B) {
	for name, others := range map[string]int{"alone": 0, "beside 500": 500} {
		b.Run(name, func(b *testing.B) {
			o := newOffice(2, nil, nil)
			c, cancel := context.WithCancel(ctx)
			defer cancel()
			for range others {
				x := o.boxes[0].Take()
				go func() { _ = wait(x, c, &atomic.Bool{}) }()
			}
			ask, answer := o.boxes[0].Take(), o.boxes[1].Take()
			var turn atomic.Uint32
			go func() {
				for c.Err() == nil {
					for turn.Load()%2 == 0 && c.Err() == nil {
						_ = answer.Wait(c)
					}
					turn.Add(1)
					o.boxes[1].Ring(shmsync.Peer{Row: 0}, ask.Number())
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				turn.Add(1)
				o.boxes[0].Ring(shmsync.Peer{Row: 1}, answer.Number())
				for turn.Load()%2 == 1 {
					_ = ask.Wait(ctx)
				}
			}
		})
	}
	b.Run("ring for none", func(b *testing.B) {
		o := newOffice(2, nil, nil)
		for b.Loop() {
			o.boxes[1].Ring(shmsync.Peer{Row: 0}, 5)
		}
	})
}
