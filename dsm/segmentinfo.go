package dsm

import (
	"cmp"
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/instance"
)

// SegmentInfo describes a segment.
type SegmentInfo struct {
	Handle Handle
	Size   int
	State  SegmentState
	// Refs is the number of sessions that hold the segment, and one more if it is pinned.
	Refs   int
	Pinned bool
	// Root reports that the segment is that of Session.Root.
	Root    bool
	Holders []SessionInfo
	Backend string
	// Reserved reports that the segment lies in the reserved region.
	Reserved bool
	// OSName is the name under which a person finds the object in the system.
	OSName string
	// CreatorPid is the creating process as it saw itself, Creator its application.
	CreatorPid int
	Creator    string // application
	// Created is exact to a second for a segment in the reserved region.
	Created time.Time
	// Failed is why the segment could not be removed; nil if that was not tried or did not fail.
	Failed error
	// Changed reports that the row changed while it was read: its parts may not belong together.
	Changed bool
}

// Segments lists the instance's segments, oldest first. It takes no lock: what changes at the same time may be missing,
// or marked as Changed.
func (s *Session) Segments(ctx context.Context) (list []SegmentInfo, err error) {
	err = s.call(ctx, "list segments", 0, func() error {
		processes, err := s.member.Books.Table.Processes()
		if err == nil {
			var segments []control.SegmentInfo
			if segments, err = s.member.Books.Table.Segments(); err == nil {
				list = segmentInfos(s.member.Books, segments, sessionsByRow(s.member.Books, holders(segments, processes)))
			}
		}
		return err
	})
	return list, err
}

// segmentInfos describes all segments, oldest first, with their holders. It puts them in order before it describes
// them, for a description is large.
func segmentInfos(b *instance.Books, segments []control.SegmentInfo, byRow map[int]SessionInfo) (list []SegmentInfo) {
	if len(segments) == 0 {
		return nil
	}
	type place struct{ created, at int64 }
	order, references := make([]place, len(segments)), 0
	for i := range segments {
		order[i] = place{segments[i].Created.UnixNano(), int64(i)}
		references += len(segments[i].Holders)
	}
	slices.SortFunc(order, func(x, y place) int { return cmp.Or(cmp.Compare(x.created, y.created), cmp.Compare(x.at, y.at)) })
	list = make([]SegmentInfo, len(segments))
	where, room := b.Places(), make([]SessionInfo, 0, references)
	// The holders of all segments are in one array. Each list ends where the next one begins, so that a caller that
	// appends to one gets another array.
	for k, p := range order {
		s, begin := &segments[p.at], len(room)
		for _, row := range s.Holders {
			room = append(room, byRow[row])
		}
		list[k].describe(b, s, where)
		if end := len(room); end > begin {
			list[k].Holders = room[begin:end:end]
		}
	}
	return list
}

// describe says what a row of the segment table says, but for the holders. A row whose checksum is wrong is described
// as corrupt.
func (info *SegmentInfo) describe(b *instance.Books, s *control.SegmentInfo, where func(control.Entry) string) {
	*info = SegmentInfo{
		Handle: Handle(s.Handle), Size: s.Size, State: SegmentState(s.State.String()),
		Refs: len(s.Holders), Pinned: s.Pinned, Root: s.Root,
		Backend: b.Record.Backend, OSName: where(s.Entry),
		CreatorPid: s.CreatorPid, Creator: s.Creator, Created: s.Created, Changed: s.Changed,
	}
	_, info.Reserved = s.Carved()
	if !s.Sound {
		info.State = SegmentCorrupt
	}
	if s.Pinned {
		info.Refs++
	}
	if s.Errno != 0 {
		info.Failed = syscall.Errno(s.Errno)
	}
}
