package control

import (
	"fmt"
	"math"

	"github.com/godsm/godsm/shm/shmsync"
)

// Limits are fixed for a control segment's life, since the sizes of its tables follow from them. A limit of 0 bytes or
// segments per process is none.
type Limits struct {
	Processes          int    // sessions, the supervisor not counted; at most MaxProcesses
	Segments           int    // rows of the segment table; at most MaxSegments
	SegmentsPerProcess int    // references held
	Memory             uint64 // bytes of all segments
	MemoryPerProcess   uint64 // bytes of segments held
	Reserved           uint64 // bytes of the region that segments are carved out of; 0: there is none
}

// What the layout can bear.
const (
	MaxProcesses = shmsync.MaxRows - 1 // the supervisor has the row that is left
	MaxSegments  = 65534               // the two numbers above are the control segment's and the reserved region's
)

// Size returns the length in bytes of a control segment with these limits. They must pass Check.
func Size(l Limits) int { return offsetsOf(l).end }

// offsets are where the parts of a control segment begin, in bytes from its start.
type offsets struct{ processes, segments, bits, pages, mailboxes, log, ended, tallies, ring, end int }

// offsetsOf returns the offsets that follow from the limits, each rounded up to align. It is the one place that knows
// the order of the parts; the list in layout.go and the tables of doc/layouts.md say the same.
func offsetsOf(l Limits) (o offsets) {
	up := func(n int) int { return (n + align - 1) / align * align }
	o.processes = headerSize
	o.segments = up(o.processes + l.processRows()*processRowSize)
	o.bits = up(o.segments + l.Segments*segmentRowSize)
	o.pages = up(o.bits + l.Segments*l.bitWords()*8)
	o.mailboxes = up(o.pages + l.pageWords()*pageWordSize)
	o.log = up(o.mailboxes + l.processRows()*mailboxSize)
	o.ended = up(o.log + deathsKept*8)
	o.tallies = up(o.ended + l.processRows()*4)
	o.ring = up(o.tallies + l.processRows()*tallySize)
	o.end = up(o.ring + eventsKept*eventRowSize)
	return o
}

// processRows returns how many rows the process table has: one for each session, and the supervisor's.
func (l Limits) processRows() int { return l.Processes + 1 }

// bitWords returns how many words hold the reference bits of one segment.
func (l Limits) bitWords() int { return (l.processRows() + 63) / 64 }

// pageWords returns how many words the map of the reserved region's pages has.
func (l Limits) pageWords() int { return int((l.Reserved/PageSize + 63) / 64) }

// Check returns an error if no control segment can be made with these limits. Open calls it too, on the limits that it
// finds in a header: there it refuses tables that would be larger than any instance's, and numbers that overflow an int
// when offsets are computed from them.
func (l Limits) Check() error {
	if l.Processes < 1 || l.Processes > MaxProcesses {
		return fmt.Errorf("max_processes is %d, it must be from 1 to %d", l.Processes, MaxProcesses)
	}
	if l.Segments < 1 || l.Segments > MaxSegments {
		return fmt.Errorf("max_segments is %d, it must be from 1 to %d", l.Segments, MaxSegments)
	}
	if l.Reserved%PageSize != 0 || l.Reserved > math.MaxInt || l.Reserved > maxPages*PageSize {
		return fmt.Errorf("min_dynamic_shared_memory is %d bytes: "+
			"it must be whole pages of 4 kB, and no more than this system can map", l.Reserved)
	}
	if l.SegmentsPerProcess < 0 || l.SegmentsPerProcess > math.MaxInt32 {
		return fmt.Errorf("max_segments_per_process is %d, it must be from 0 to %d",
			l.SegmentsPerProcess, math.MaxInt32)
	}
	return nil
}
