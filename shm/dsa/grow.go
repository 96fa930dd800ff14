package dsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// This file adds segments to an area. The area's lock is not held while the source makes one, which takes milliseconds;
// the lock for growth is, so that sessions which need room at the same time do not all add a segment. A row is chosen
// under the area's lock, and filled in under it later: since only the holder of the lock for growth fills rows, it is
// still free then.

// makeLive makes a row that of a formatted segment, all of whose chunks are free. The row's handle is stored already;
// the word comes last, since it decides. The caller holds the area's lock, or is the only one that knows the area.
func (r *row) makeLive(chunks, life int) {
	r.chunks.Store(uint32(chunks))
	r.free.Store(uint32(chunks))
	r.longest.Store(uint32(chunks))
	r.low.Store(0)
	r.word.Store(rowWord(rowLive, life))
}

// growFor makes room for a run of n chunks: by what dead sessions had, or else by a new segment. The caller has a
// stripe, and does not hold the area's lock, which other sessions can take while the source makes the segment; a
// session that has to grow the area too waits for this one, for at most 10 seconds. The room may be used up again
// before the caller has the area's lock.
//
// The segment is not pinned until addSegment has announced it in its row: a process that dies before has it go with its
// attachment.
func (a *Area) growFor(ctx context.Context, n int) error {
	grow, err := a.lockEvenPoisoned(ctx, a.grow, a.ends.View)
	if err != nil {
		return fmt.Errorf("dsa: the lock for growth: %w", err)
	}
	defer grow.Unlock()
	grow.MarkConsistent() // a dead holder may have left a row on the way, which the area's lock repairs
	i, chunks, err := a.planGrowth(ctx, n)
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

// planGrowth chooses the row of the next segment, and how many chunks it is to have; 0 chunks if none is needed,
// because dead sessions were recovered, or another session has made room in the meantime. Without a source, or without
// a free row, it returns an error that matches ErrFull and ErrNoMemory. It takes the area's lock. The caller holds the
// lock for growth.
//
// Row 0 is never chosen: it is the first segment's. The row at which the search begins comes from shared memory, and is
// taken modulo their number.
func (a *Area) planGrowth(ctx context.Context, n int) (free, chunks int, err error) {
	g, err := a.lockArea(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer g.Unlock()
	if dead, err := a.recoverDeadLocked(ctx); err != nil || dead > 0 {
		return 0, 0, err
	}
	live := 0
	free = -1
	for k := range a.rows {
		i := (int(a.head.next.Load()%maxRows) + k) % maxRows
		r := &a.rows[i]
		state, _ := rowOf(r.word.Load())
		switch {
		case state == rowFree && free < 0 && i > 0:
			free = i
		case state != rowFree:
			live++
		}
		if state == rowLive && int(r.free.Load()) >= n && int(r.longest.Load()) >= n {
			if m, err := a.mapRow(ctx, i); segmentLost(err) {
				continue
			} else if err != nil {
				return 0, 0, err
			} else if _, ok := m.findRun(0, n); ok {
				return 0, 0, nil // another session has made room
			}
		}
	}
	switch {
	case a.source == nil:
		return 0, 0, errCannotGrow("the area in place has all of its %d bytes in use, and no source of segments to grow from",
			a.head.total.Load())
	case free < 0:
		return 0, 0, errCannotGrow("all %d segments that an area can have are in use: begin with a larger one (Options.Initial)",
			maxRows)
	}
	a.head.next.Store(uint32(free + 1))
	return free, a.growthStepLocked(n, live), nil
}

// errCannotGrow returns the error of an area that cannot grow, however much memory there is. It matches ErrFull and
// ErrNoMemory.
func errCannotGrow(format string, args ...any) error {
	return errkind.As(ErrNoMemory, errkind.As(ErrFull, fmt.Errorf(format, args...)))
}

// Growth adds at most 12 MiB to an area of up to 768, since the one call that meets it pays for all of a segment, which
// has to be zeroed: 4 ms. A larger area grows by a quarter of what it has beyond that, so that rows last, the
// instance's too.
const (
	growthSteps = 12 << 20
	growthTurns = 768 << 20
	growthPart  = 4
)

// growthStepLocked returns how many chunks growth asks for first: the first segment's, twice as many with each second
// segment, as far as growthSteps allows. If the source has refused more, and no segment has gone back since, it is
// twice what it gave then. It is never less than need. The caller holds the lock for growth and the area's lock. The
// numbers of the header come from shared memory, and whatever they are the result is at most what a segment can have,
// or need.
func (a *Area) growthStepLocked(need, live int) int {
	h := a.head
	chunks := min(uint64(h.initial.Load())<<min(live/2, 24), h.largest.Load(), maxSegment/chunkSize,
		(growthSteps+(max(h.total.Load(), growthTurns)-growthTurns)/growthPart)/(chunkSize+spanSize))
	if a.cut > 0 && a.cutAt == h.returned.Load() {
		chunks = min(chunks, uint64(max(2*a.cut, a.leastGrowth())))
	}
	return max(wholeRuns(int(chunks), need), need)
}

// leastGrowth returns how small a segment growth asks for while there is memory: 128 of them are the limit, or all
// that there is of an area without one. So rows do not run out, of the area nor of the instance.
func (a *Area) leastGrowth() int {
	bytes := a.head.limit.Load()
	if bytes == 0 {
		bytes = a.head.total.Load()
	}
	return int(min(bytes/128/(chunkSize+spanSize)+1, a.head.largest.Load(), maxSegment/chunkSize))
}

// growthWithinLimit returns how many chunks a segment can have within the area's limit; less than what is needed is
// ErrLimit. It takes no lock: a limit that is set at that moment may count for the next segment only.
func (a *Area) growthWithinLimit(need int) (chunks int, err error) {
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
