package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Part is a worker's part in a run.
type Part struct {
	Seed     uint64
	Desk     int // from 0
	Life     int // which process at this desk
	Sabotage string
}

// worker makes random steps until it is killed, or told to rest.
type worker struct {
	Part
	cfg   dsm.Config
	log   io.Writer
	rng   *rand.Rand
	seq   uint32
	held  []holding
	owing []dsm.Handle // detached without the control lock: their references go back later

	session *dsm.Session
	books   *instance.Books // to ask who lives
	board   *board
	onBoard *dsm.Segment
	self    shmsync.Peer
	mutex   *shmsync.Mutex
}

// holding is a segment that the worker has attached.
type holding struct {
	segment *dsm.Segment
	blocks  []block
}

// report is what a worker at rest says it holds.
type report struct {
	Pid   int          `json:"pid"`
	Row   int          `json:"row"`
	Holds []dsm.Handle `json:"holds"`
}

const (
	maxHeld   = 12
	maxBlocks = 64
	// brief is how long a Detach waits for the control lock before it leaves the reference for later.
	brief = time.Second
)

// Work lives a worker's life until the end of orders, which is the end of the run. Orders come by lines: rest, at which it
// reports what it holds, and leave.
func Work(ctx context.Context, cfg dsm.Config, p Part, orders io.Reader, reports, log io.Writer) error {
	w := &worker{Part: p, cfg: cfg, log: log, rng: rand.New(rand.NewPCG(p.Seed, uint64(p.Desk)<<32|uint64(p.Life)))}
	var rest atomic.Bool
	leave := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(orders); lines.Scan(); {
			if lines.Text() == "leave" {
				close(leave)
				return
			}
			rest.Store(true)
		}
		os.Exit(1)
	}()
	if err := w.join(ctx); err != nil {
		return err
	}
	for quits := false; !quits && !rest.Load(); {
		var err error
		if quits, err = w.step(ctx); errors.Is(err, dsm.ErrStale) {
			err = w.again(ctx)
		}
		if err != nil {
			return err
		}
	}
	if rest.Load() {
		if err := w.repose(ctx, reports); err != nil {
			return err
		}
		<-leave
	}
	return w.leave()
}

// repose says what the worker holds, when no call of it is in flight.
func (w *worker) repose(ctx context.Context, reports io.Writer) error {
	for _, h := range w.owing {
		g, err := w.session.Attach(ctx, w.session.Owner(), h)
		if errors.Is(err, dsm.ErrNotFound) {
			continue
		}
		if err == nil {
			err = g.Detach()
		}
		if err != nil {
			return err
		}
	}
	r := report{Pid: os.Getpid(), Row: w.self.Row, Holds: []dsm.Handle{w.onBoard.Handle()}}
	for _, h := range w.held {
		r.Holds = append(r.Holds, h.segment.Handle())
	}
	if w.Sabotage == "row" && w.Desk == 0 {
		r.Holds = r.Holds[1:]
	}
	return json.NewEncoder(reports).Encode(r)
}

// step does one thing at random, and reports whether the worker quits in order.
func (w *worker) step(ctx context.Context) (quits bool, err error) {
	kinds := []struct {
		weight int
		do     func(context.Context) error
	}{
		{16, w.create}, {20, w.attach}, {20, w.read}, {20, w.write}, {12, w.detach}, {2, w.pin}, {4, w.unpin},
		{10, w.locked}, {6, w.nap},
	}
	desk := &w.board.desks[w.Desk]
	n := w.rng.IntN(110)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			if err = k.do(ctx); err == nil {
				desk.steps.Add(1)
			}
			break
		}
	}
	if err == nil && w.rng.IntN(2000) == 0 {
		err = w.reopen(ctx)
	}
	return w.rng.IntN(5000) == 0, err
}

func (w *worker) create(ctx context.Context) error {
	if len(w.held) >= maxHeld {
		return w.detach(ctx)
	}
	size := blockSize*(1+w.rng.IntN(maxBlocks)) + w.rng.IntN(blockSize)
	g, err := w.session.Create(ctx, w.session.Owner(), size)
	if errors.Is(err, dsm.ErrQuota) || errors.Is(err, dsm.ErrNoSpace) || errors.Is(err, dsm.ErrTooManySegments) {
		return nil
	}
	if err != nil {
		return err
	}
	w.board.shelf[w.rng.IntN(len(w.board.shelf))].Store(uint64(g.Handle()))
	return w.hold(g)
}

func (w *worker) attach(ctx context.Context) error {
	place := &w.board.shelf[w.rng.IntN(len(w.board.shelf))]
	h := place.Load()
	if h == 0 || len(w.held) >= maxHeld {
		return nil
	}
	g, err := w.session.Attach(ctx, w.session.Owner(), dsm.Handle(h))
	if errors.Is(err, dsm.ErrNotFound) {
		place.CompareAndSwap(h, 0)
		return nil
	}
	if err != nil {
		return err
	}
	w.owing = slices.DeleteFunc(w.owing, func(o dsm.Handle) bool { return o == g.Handle() })
	return w.hold(g)
}

func (w *worker) hold(g *dsm.Segment) error {
	blocks, err := shm.SliceOf[block](g.Region(), 0, g.Size()/blockSize)
	w.held = append(w.held, holding{g, blocks})
	return err
}

// any returns one of the held segments; one attached twice stands there twice.
func (w *worker) any() (holding, bool) {
	if len(w.held) == 0 {
		return holding{}, false
	}
	return w.held[w.rng.IntN(len(w.held))], true
}

func (w *worker) read(context.Context) error {
	h, ok := w.any()
	if !ok {
		return nil
	}
	for i := range h.blocks {
		if place := placeOf(h.segment.Handle(), i); h.blocks[i].judge(place) == wrong {
			w.board.desks[w.Desk].wrong.Add(1)
			fmt.Fprintf(w.log, "crash: block %d of segment %v is wrong: stamp %#x\n",
				i, h.segment.Handle(), h.blocks[i].begin.Load())
		}
	}
	return nil
}

func placeOf(h dsm.Handle, i int) uint64 { return mix(uint64(h) + uint64(i)) }

func (w *worker) write(context.Context) error {
	h, ok := w.any()
	if !ok {
		return nil
	}
	for range 1 + w.rng.IntN(16) {
		i := w.rng.IntN(len(h.blocks))
		b, s := &h.blocks[i], w.stamp()
		if !b.claim(s, w.alive) {
			continue
		}
		b.fill(s, placeOf(h.segment.Handle(), i))
		if w.Sabotage == "byte" && w.rng.IntN(100) == 0 {
			b.words[0].Store(^b.words[0].Load())
		}
	}
	return nil
}

func (w *worker) stamp() stamp {
	w.seq++
	return newStamp(w.self, w.seq)
}

func (w *worker) detach(context.Context) error {
	if len(w.held) == 0 {
		return nil
	}
	i := w.rng.IntN(len(w.held))
	g := w.held[i].segment
	w.held = slices.Delete(w.held, i, i+1)
	begin := time.Now()
	err := g.Detach()
	if time.Since(begin) >= brief {
		w.owing = append(w.owing, g.Handle())
	}
	return err
}

// pin pins a segment in the place of another one, so that there are never many.
func (w *worker) pin(ctx context.Context) error {
	h, ok := w.any()
	if !ok {
		return nil
	}
	if err := h.segment.Pin(ctx); err != nil {
		return err
	}
	return w.swapPin(ctx, h.segment.Handle())
}

func (w *worker) unpin(ctx context.Context) error { return w.swapPin(ctx, 0) }

func (w *worker) swapPin(ctx context.Context, h dsm.Handle) error {
	old := w.board.pins[w.rng.IntN(len(w.board.pins))].Swap(uint64(h))
	if old == 0 {
		return nil
	}
	if err := w.session.Unpin(ctx, dsm.Handle(old)); !errors.Is(err, dsm.ErrNotFound) {
		return err
	}
	return nil
}

// locked takes the robust lock and rewrites what it guards. That may be half-written only if the lock says so.
func (w *worker) locked(ctx context.Context) error {
	g, err := w.mutex.Lock(ctx)
	if err != nil {
		return err
	}
	if w.Sabotage == "stuck" && w.Desk == 0 {
		select {} // and the lock with it
	}
	place := uint64(w.onBoard.Handle())
	_, abandoned := g.Abandoned()
	if v := w.board.ledger.judge(place); v == wrong || v == unfinished && !abandoned {
		w.board.desks[w.Desk].wrong.Add(1)
		fmt.Fprintf(w.log, "crash: what the lock guards is wrong: stamp %#x, written by %#x\n",
			w.board.ledger.begin.Load(), w.board.ledger.end.Load())
	}
	s := w.stamp()
	w.board.ledger.begin.Store(uint64(s))
	w.board.ledger.fill(s, place)
	g.Unlock()
	return nil
}

// nap leaves the processors to others.
func (w *worker) nap(context.Context) error {
	time.Sleep(time.Duration(w.rng.IntN(4000)) * time.Microsecond)
	return nil
}

// reopen leaves in order and joins again.
func (w *worker) reopen(ctx context.Context) error {
	if err := w.leave(); err != nil {
		return err
	}
	return w.join(ctx)
}
