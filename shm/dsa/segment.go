package dsa

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
)

// segmentSize returns how many bytes the segment of row i has, as follows from its chunks.
func (a *Area) segmentSize(i int) uint64 {
	start := uint64(0)
	if i == 0 {
		start = firstSegment(len(a.slots))
	}
	return geometryOf(start, int(a.rows[i].chunks.Load())).size
}

// newSegment makes a segment of so many chunks or, if the limit leaves less, of what it leaves, and returns it with the
// number that it has. If the source refuses with ErrNoMemory or ErrSize, it asks for half as many, down to what is
// needed, and for less than least only if the source refuses that too. It blocks as the source's Create does. The
// caller holds the lock for growth.
func (a *Area) newSegment(ctx context.Context, need, chunks int) (Segment, int, error) {
	room, err := a.growthWithinLimit(need)
	if err != nil {
		return nil, 0, err
	}
	chunks, least := min(chunks, max(wholeRuns(room, need), need)), a.leastGrowth()
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

// trySegment asks the source for a segment of so many chunks. More than a segment can have, or than an int can say, is
// ErrSize.
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

// addSegment pins a new segment, writes it into row i, and adds it to this process's mappings. The caller holds the
// lock for growth and runs in the segment's With; addSegment takes the area's lock.
//
// The order of the steps, and what a process that dies after each leaves:
//
//  1. The segment is formatted, and its handle stored in the row. The row is free still: the segment goes with its
//     process.
//  2. The row says "coming". The next holder of the lock frees the row, and unpins the segment, which is no error if
//     it is not pinned, or gone.
//  3. The segment is pinned, and no longer goes with its process. The same holder unpins it.
//  4. The row says "live": the segment is the area's. What is derived, such as the total, the next holder makes anew.
//
// If the pin were first, a death before the row says so would leave a segment that no row names, and that nothing
// unpins.
func (a *Area) addSegment(ctx context.Context, b []byte, seg Segment, i, chunks int) error {
	g, err := a.lockArea(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	r := &a.rows[i]
	_, life := rowOf(r.word.Load())
	life = life%maxLife + 1
	size := geometryOf(0, chunks).size
	m, err := a.formatSegment(b, seg, geometryOf(0, chunks), i, life)
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
	r.makeLive(chunks, life)
	failpoint.Hit("dsa/grow/live")
	a.head.total.Add(size)
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	return a.installLocked(m)
}

// pinFirstSegment pins a new area's first segment. The end of the owner or the session may detach the area before the
// pin, and its removal then unpins a segment that is not pinned yet; so the area is asked for its end after the pin,
// which is undone then.
func (a *Area) pinFirstSegment(ctx context.Context, seg Segment) error {
	err := seg.Pin(ctx)
	if a.ends.Ended() {
		err = errors.Join(errClosed, a.ensureUnpinned(ctx, seg.Handle()))
	}
	return err
}

// formatSegment writes a new segment's header, and makes a mapping of it. No other process knows the segment yet; its
// bytes are zero, so all its spans are free. The magic number comes last: a process that finds the segment before,
// which only a row that was hit by a stray store makes it do, refuses it.
func (a *Area) formatSegment(b []byte, seg Segment, g geometry, row, life int) (*mapping, error) {
	m, err := newMapping(b, seg, g, row, life)
	if err != nil {
		return nil, err
	}
	h, err := shm.At[segment](shm.NewRegion(m.bytes), shm.Offset(g.segment))
	if err != nil {
		return nil, err
	}
	h.area.Store(a.head.id.Load())
	h.row.Store(uint32(row))
	h.life.Store(uint32(life))
	h.chunks.Store(uint32(g.chunks))
	m.clearBits()
	h.magic.Store(magic)
	return m, nil
}

// unpinSegmentLocked unpins the segment of row i, by the handle in the row. Without a source it returns ErrCorrupt: no segment
// can have been added to such an area. It blocks as the source's Unpin does. The caller holds the area's lock.
func (a *Area) unpinSegmentLocked(ctx context.Context, i int) error {
	if a.source == nil {
		return corrupt("segment %d has no source", i)
	}
	if err := a.ensureUnpinned(ctx, a.rows[i].handle.Load()); err != nil {
		return fmt.Errorf("dsa: give segment %d back: %w", i, err)
	}
	return nil
}

// removeSegmentsLocked gives all segments back, the one with the header last. It goes on after an error, and returns
// all of them. The caller holds the area's lock.
//
// Gone is stored first: from then on no session joins. A process that dies after it leaves an area that is gone in
// part, and whose first segment is still pinned. A session that tries to attach it then finds gone, and goes on here;
// each step does nothing if it was done before.
func (a *Area) removeSegmentsLocked(ctx context.Context) error {
	a.head.gone.Store(1)
	failpoint.Hit("dsa/remove/gone")
	var errs []error
	for i := 1; i < len(a.rows); i++ {
		if state, _ := rowOf(a.rows[i].word.Load()); state != rowFree {
			errs = append(errs, a.returnSegmentLocked(ctx, i))
		}
	}
	if a.head.flags.Load()&flagInPlace == 0 {
		failpoint.Hit("dsa/remove/last")
		errs = append(errs, a.unpinSegmentLocked(ctx, 0))
	}
	return errors.Join(errs...)
}

// emptySegmentBytesLocked returns how many bytes all segments have in which there is nothing, without the first, which never
// goes. The caller holds the area's lock.
func (a *Area) emptySegmentBytesLocked() (n uint64) {
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		if state, _ := rowOf(r.word.Load()); state == rowLive && r.free.Load() == r.chunks.Load() {
			n += a.segmentSize(i)
		}
	}
	return n
}

// segmentLost reports whether err means that a segment is garbled, or gone: then that segment alone is lost. Other
// errors, such as ErrClosed, mean that this session can do nothing more.
func segmentLost(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotFound) }
