package dsa

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// live makes a row that of a formatted segment.
func (r *row) live(chunks, life int) {
	r.chunks.Store(uint32(chunks))
	r.free.Store(uint32(chunks))
	r.longest.Store(uint32(chunks))
	r.low.Store(0)
	r.word.Store(rowWord(rowLive, life))
}

func (a *Area) sizeOf(i int) uint64 {
	start := uint64(0)
	if i == 0 {
		start = firstSegment(len(a.slots))
	}
	return geometryOf(start, int(a.rows[i].chunks.Load())).size
}

// emptyBytes returns the size of all segments that nothing is in, but the first.
func (a *Area) emptyBytes() (n uint64) {
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		if state, _ := rowOf(r.word.Load()); state == rowLive && r.free.Load() == r.chunks.Load() {
			n += a.sizeOf(i)
		}
	}
	return n
}

// expand makes room for a run of n chunks: what dead sessions held, else a new segment. The lock is not held while
// the system makes it, so others go on; who needs one too waits. The room may be gone again when the caller comes.
func (a *Area) expand(ctx context.Context, n int) error {
	grow, err := a.lockOrWait(ctx, a.grow, a.ends.View)
	if err != nil {
		return fmt.Errorf("dsa: the lock for growth: %w", err)
	}
	defer grow.Unlock()
	grow.MarkConsistent() // it guards rows on the way only, which the area's lock repairs
	i, chunks, err := a.plan(ctx, n)
	if err != nil || chunks == 0 {
		return err
	}
	seg, chunks, err := a.newSegment(ctx, n, chunks)
	if err != nil {
		return err
	}
	failpoint.Hit("dsa/grow/created")
	err = seg.With(func(b []byte) error { return a.addSegment(ctx, b, seg, i, chunks) })
	if err != nil {
		return errors.Join(err, seg.Detach())
	}
	return nil
}

// plan chooses the row and size of the next segment; 0 chunks: none is needed.
func (a *Area) plan(ctx context.Context, n int) (free, chunks int, err error) {
	g, err := a.acquire(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer g.Unlock()
	if dead, err := a.recoverDead(ctx); err != nil || dead > 0 {
		return 0, 0, err
	}
	live := 0
	free = -1
	for k := range a.rows {
		i := (int(a.head.next.Load()) + k) % len(a.rows)
		r := &a.rows[i]
		state, _ := rowOf(r.word.Load())
		switch {
		case state == rowFree && free < 0 && i > 0:
			free = i
		case state != rowFree:
			live++
		}
		if state == rowLive && int(r.free.Load()) >= n && int(r.longest.Load()) >= n {
			if m, err := a.mapRow(ctx, i); lost(err) {
				continue
			} else if err != nil {
				return 0, 0, err
			} else if _, ok := m.findRun(0, n); ok {
				return 0, 0, nil // somebody has been here before
			}
		}
	}
	switch {
	case a.source == nil:
		return 0, 0, fullUp("the area in place has all of its %d bytes in use, and no source of segments to grow from",
			a.head.total.Load())
	case free < 0:
		return 0, 0, fullUp("all %d segments that an area can have are in use: begin with a larger one (Options.Initial)",
			maxRows)
	}
	a.head.next.Store(uint32(free + 1))
	return free, a.step(n, live), nil
}

// fullUp is the error of an area that can't grow, whatever memory there is.
func fullUp(format string, args ...any) error {
	return errkind.As(ErrNoMemory, errkind.As(ErrFull, fmt.Errorf(format, args...)))
}

// Growth adds at most 12 MiB to an area of up to 768, since the one call that meets it pays for all of a segment, which has
// to be zeroed: 4 ms. A larger area grows by a quarter of what it has beyond that, so that rows last, the instance's too.
const (
	growthSteps = 12 << 20
	growthTurns = 768 << 20
	growthPart  = 4
)

// step returns how many chunks growth asks for first: the first segment's, twice as many with each second segment, as far as
// growthSteps allows. If the source has refused more, and no segment has gone back since, it is twice what it gave then.
func (a *Area) step(need, live int) int {
	h := a.head
	chunks := min(uint64(h.initial.Load())<<min(live/2, 24), h.largest.Load(), maxSegment/chunkSize,
		(growthSteps+(max(h.total.Load(), growthTurns)-growthTurns)/growthPart)/(chunkSize+spanSize))
	if a.cut > 0 && a.cutAt == h.returned.Load() {
		chunks = min(chunks, uint64(max(2*a.cut, a.least())))
	}
	return max(whole(int(chunks)), need)
}

// least returns how small a segment growth asks for while there is memory: 128 of them are the limit, or all that there is of
// an area without one. So rows do not run out, of the area nor of the instance.
func (a *Area) least() int {
	bytes := a.head.limit.Load()
	if bytes == 0 {
		bytes = a.head.total.Load()
	}
	return int(min(bytes/128/(chunkSize+spanSize)+1, a.head.largest.Load(), maxSegment/chunkSize))
}

// whole returns the chunks of the largest spans that fit into so many, if one does: so none are left over.
func whole(chunks int) int {
	if largest := classes[len(classes)-1].chunks; chunks > largest {
		return chunks / largest * largest
	}
	return chunks
}

// newSegment makes a segment of so many chunks or, if the limit leaves less, of what it leaves. Refused by the source it
// asks for half as many, down to what is needed, and for less than least only if the source refuses that too.
func (a *Area) newSegment(ctx context.Context, need, chunks int) (Segment, int, error) {
	room, err := a.room(need)
	if err != nil {
		return nil, 0, err
	}
	chunks, least := min(chunks, max(whole(room), need)), a.least()
	for {
		seg, err := a.trySegment(ctx, chunks)
		if err == nil || chunks <= need || ctx.Err() != nil ||
			!errors.Is(err, ErrNoMemory) && !errors.Is(err, ErrSize) {
			return seg, chunks, err
		}
		if chunks > least {
			chunks = max(chunks/2, least, need)
		} else {
			chunks = max(chunks/2, need)
		}
		a.cut, a.cutAt = chunks, a.head.returned.Load()
	}
}

// room returns how many chunks a segment can have within the area's limit; less than what is needed is ErrLimit.
func (a *Area) room(need int) (chunks int, err error) {
	limit, total := a.head.limit.Load(), a.head.total.Load()
	if limit == 0 {
		return maxSegment / chunkSize, nil
	}
	if chunks = fitting(0, min(limit-min(total, limit), maxSegment)).chunks; chunks < need {
		return 0, errkind.As(ErrLimit, fmt.Errorf("the area's limit is %d bytes, and %d of them are in use: "+
			"a segment of %d more would exceed it; free objects, or raise it (SetLimit)",
			limit, total, geometryOf(0, need).size))
	}
	return chunks, nil
}

func (a *Area) trySegment(ctx context.Context, chunks int) (Segment, error) {
	size := geometryOf(0, chunks).size
	if size > maxSegment || size > math.MaxInt {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("a segment of %d bytes is more than the %d that one can have", size, uint64(maxSegment)))
	}
	seg, err := a.source.Create(ctx, int(size))
	if err != nil {
		return nil, fmt.Errorf("the area, of %d bytes, asked for a segment of %d more: %w", a.head.total.Load(), size, err)
	}
	return seg, nil
}

// addSegment pins a new segment and writes it into its row: from "coming" on, a death leaves it
// to who repairs, before that, to its source.
func (a *Area) addSegment(ctx context.Context, b []byte, seg Segment, i, chunks int) error {
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	r := &a.rows[i]
	_, life := rowOf(r.word.Load())
	life = life%maxLife + 1
	size := geometryOf(0, chunks).size
	m, err := a.format(b, seg, geometryOf(0, chunks), i, life)
	if err != nil {
		return err
	}
	r.handle.Store(seg.Handle())
	failpoint.Hit("dsa/grow/handle")
	r.word.Store(rowWord(rowComing, life))
	failpoint.Hit("dsa/grow/coming")
	if err := seg.Pin(ctx); err != nil {
		r.word.Store(rowWord(rowFree, life))
		return fmt.Errorf("dsa: keep a segment: %w", err)
	}
	failpoint.Hit("dsa/grow/pinned")
	r.live(chunks, life)
	failpoint.Hit("dsa/grow/live")
	a.head.total.Add(size)
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	return a.install(m)
}

// giveSegment gives an empty segment back, under the lock. The others see it by the count, and
// unmap it; this process does, as soon as it holds no stripe.
func (a *Area) giveSegment(ctx context.Context, i int) error {
	r := &a.rows[i]
	state, life := rowOf(r.word.Load())
	if state == rowLive {
		size := a.sizeOf(i)
		r.word.Store(rowWord(rowGoing, life))
		failpoint.Hit("dsa/give/going")
		a.head.total.Add(-size)
		a.head.returned.Add(1)
		a.askOthers()
	}
	if err := a.unpin(ctx, i); err != nil {
		return err // the row stays as it is: Verify tries again
	}
	failpoint.Hit("dsa/give/unpinned")
	r.word.Store(rowWord(rowFree, life))
	return nil
}

// askDelay is how long a session waits for more segments to go back before it asks the others to unmap them.
const askDelay = 20 * time.Millisecond

// askOthers has the other sessions asked soon to unmap what went back. Those that use the area do it anyway; one that is
// idle would keep the memory.
func (a *Area) askOthers() {
	if a.self.Ask == nil || a.asking.Swap(true) {
		return
	}
	time.AfterFunc(askDelay, func() {
		_ = a.contained(func() error {
			return a.striped(func() error {
				a.asking.Store(false)
				if a.ends.Ended() {
					return errClosed
				}
				now := uint32(a.head.returned.Load())
				for i := range a.slots {
					w := a.slots[i].peer.Load()
					if w != 0 && i != a.slot && a.slots[i].seen.Load() != now {
						a.self.Ask(shmsync.PeerOf(w))
					}
				}
				return nil
			})
		})
	})
}

func (a *Area) unpin(ctx context.Context, i int) error {
	if a.source == nil {
		return corrupt("segment %d has no source", i)
	}
	if err := a.unpinned(ctx, a.rows[i].handle.Load()); err != nil {
		return fmt.Errorf("dsa: give segment %d back: %w", i, err)
	}
	return nil
}

// unpinned ensures that the segment with that handle is not pinned.
func (a *Area) unpinned(ctx context.Context, handle uint64) error {
	err := a.source.Unpin(context.WithoutCancel(ctx), handle)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
