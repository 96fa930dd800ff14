package control

import (
	"math/bits"
	"syscall"
	"time"
)

// The life of a segment that has an object of its own, from the books' side. Each step is one section; between two of
// them the caller asks the backend:
//
//	section          then the caller        a process that dies before its next section leaves
//	Create           makes the object       a creating row, its agent dead: the reclaimer removes what was made
//	Created          -                      a live row with the dead process's bit
//	Abandon          -                      nothing
//	Ref              maps the object        a live row with the dead process's bit
//	Unref, if last   removes the object     a destroying row, its agent dead: the reclaimer removes the object
//	Destroyed        -                      nothing
//
// The books never say that there is no object while there may be one. They may say that there is one when there is not:
// a removal of what is missing succeeds.

// SegmentInfo is one row of the segment table that is not free.
type SegmentInfo struct {
	Entry
	State     SegmentState
	Pinned    bool // by the instance
	Root      bool // the root segment
	PinWanted bool // to be pinned, once the supervisor keeps the object open
	Created   time.Time
	Creator   string        // application name
	Holders   []int         // process rows that have a reference, in order; dead processes among them
	Errno     syscall.Errno // why the last attempt to remove the object failed; 0 if none did
	Changed   bool          // while it was read: the parts may not belong together
	Sound     bool          // its checksum is right
}

// SegmentState is how far the making or removal of a segment has come. A value above Destroying comes from a stray
// store.
type SegmentState uint8

// Segments lists the rows that are not free, in the order of the table. Its error is ErrCorrupt, if the books are gone.
// A row that is garbled is in the list all the same: Sound is false then.
func (t *Table) Segments() (list []SegmentInfo, err error) {
	err = contained(func() error {
		// Hostile value: a count of used rows beyond the table, for which too much memory would be asked.
		if used := t.header.usedRows.Load(); used > 0 {
			list = make([]SegmentInfo, 0, min(int(used), len(t.segments)))
		}
		for i := range t.segments {
			if info, ok := t.segmentInfo(i); ok {
				list = append(list, info)
			}
		}
		return nil
	})
	return list, err
}

// Segment returns the row of the segment with a handle, whatever state the row is in. It reads that row alone, so it
// costs the same however many segments there are.
//
// Without such a segment it returns ErrNotFound. A caller checks Sound before it uses the rest: a row whose checksum
// is wrong is returned, too, as Segments lists it.
func (t *Table) Segment(handle uint64) (info SegmentInfo, err error) {
	err = contained(func() error {
		// The row's number is part of the handle. The rest of it tells apart the segments that the row has had.
		if i := int(handle & 0xffff); i < len(t.segments) {
			if s, ok := t.segmentInfo(i); ok && s.Handle == handle {
				info = s
				return nil
			}
		}
		return ErrNotFound
	})
	return info, err
}

// segmentInfo copies one segment row out; ok is false for a free one. It loads the state first, and state and handle
// once more at the end, to find out that the row has changed in between.
func (t *Table) segmentInfo(i int) (info SegmentInfo, ok bool) {
	r := &t.segments[i]
	w := r.word.Load()
	if wordState(w) == Free {
		return info, false
	}
	info = SegmentInfo{
		Entry:     t.entry(i),
		State:     wordState(w),
		Pinned:    pinOf(r.pin.Load()) == pinned,
		PinWanted: pinOf(r.pin.Load()) == pinWanted,
		Root:      isRoot(r.pin.Load()),
		Created:   time.Unix(0, int64(r.created.Load())),
		Creator:   r.creator.load(),
		Errno:     syscall.Errno(r.errno.Load()),
		Sound:     t.isRowSound(i),
	}
	for k := range t.wordsPer {
		for set := t.bits[i*t.wordsPer+k].Load(); set != 0; set &= set - 1 {
			if p := 64*k + bits.TrailingZeros64(set); p < len(t.processes) {
				info.Holders = append(info.Holders, p)
			}
		}
	}
	info.Changed = r.word.Load() != w || r.handle.Load() != info.Handle
	return info, true
}
