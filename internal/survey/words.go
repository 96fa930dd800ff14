package survey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Word is a lock of package shmsync that lies in a segment and holds up a session.
type Word struct {
	Segment dsm.Handle
	In      registry.Info // what the segment is, or is a part of; empty if that has no name
	Offset  int
	Holders []WordParty
	Waiters []WordParty
}

// WordParty is a session that holds such a lock, or waits for it.
type WordParty struct {
	dsm.SessionInfo
	Shared bool
}

// Words looks for locks that hold up a session: in all segments, or in those of one name or one handle. It takes and stores nothing, and
// goes through all bytes. A segment that can't be read is left out, unless it is the one that is asked for.
func Words(ctx context.Context, cfg dsm.Config, in string) (list []Word, err error) {
	found := false
	err = dsm.Look(ctx, cfg, func(r dsm.Report, read func(dsm.Handle) ([]byte, error)) error {
		names, err := registry.Names(r)
		if err != nil {
			return err
		}
		parts := Parts(names, math.MaxInt, read)
		for _, x := range names {
			parts[x.Handle] = x
		}
		sessions, alive := sessionsOf(r), living(r)
		for _, g := range r.Segments {
			if in != "" && in != g.Handle.String() && in != parts[g.Handle].Name || g.State != dsm.SegmentLive {
				continue
			}
			found = true
			var locks []shmsync.LockAt
			err := fault.Contain(func() error {
				b, err := read(g.Handle)
				if err == nil {
					locks, err = shmsync.FindLocks(shm.NewRegion(b), alive)
				}
				return err
			})
			if err != nil && in != "" && !errors.Is(err, dsm.ErrNotFound) {
				return fmt.Errorf("segment %v: %w", g.Handle, err)
			}
			for _, l := range locks {
				list = append(list, wordOf(g.Handle, parts[g.Handle], l, sessions))
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && in != "" && !found {
		err = errkind.As(fs.ErrNotExist, fmt.Errorf("there is no live segment with the name or the handle %q: ls lists what there is", in))
	}
	return list, err
}

func sessionsOf(r dsm.Report) map[string]dsm.SessionInfo {
	sessions := make(map[string]dsm.SessionInfo, len(r.Sessions))
	for _, s := range r.Sessions {
		sessions[s.Name] = s
	}
	return sessions
}

func wordOf(h dsm.Handle, in registry.Info, l shmsync.LockAt, sessions map[string]dsm.SessionInfo) Word {
	w := Word{Segment: h, In: in, Offset: int(l.Offset)}
	for _, p := range l.Exclusive {
		w.Holders = append(w.Holders, WordParty{sessions[p.String()], false})
	}
	for _, p := range l.Shared {
		w.Holders = append(w.Holders, WordParty{sessions[p.String()], true})
	}
	for _, p := range l.Waiting {
		w.Waiters = append(w.Waiters, WordParty{sessions[p.Peer.String()], p.Shared})
	}
	return w
}
