package registry

import (
	"context"
	"slices"
	"strings"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// What the table of names says, for people and programs that look. A list is a copy: names may be made and deleted
// while it is put together, and after.

// Info is one name.
type Info struct {
	Name     string
	Kind     string // segment, area, hash, or a Kind's name
	Type     string // of what lies there, as its maker's program calls it; may be empty
	Version  uint64
	Table    dsa.Pointer       // of a hash, and of what else is in an area of its own
	State    string            // StateReady; StateMaking or StateGoing while a session is at work on it
	Handle   dsm.Handle        // the segment, or the area; 0 while there is none yet
	Size     int64             // bytes, of an area those of its first segment
	Sessions []dsm.SessionInfo // that have it attached
	InArea   bool              // its memory is an area, not one segment
}

// The states of a name, in Info. They are texts, as Kind is, which any package may name: programs put both together with
// other texts.
const (
	StateMaking = "making"
	StateReady  = "ready"
	StateGoing  = "going" // it is being deleted, or cleared up after a session that died
)

// List lists the names, sorted. The size of what is in an area is that of all its segments, for which the area is
// attached for a moment; where that can't be done it is that of the first segment. Like Delete it removes what earlier
// deletes have left. It waits for the table's lock until ctx is over. An instance without names is an empty list and no
// error.
func List(ctx context.Context, s *dsm.Session) ([]Info, error) {
	n, err := namesOf(ctx, s, false)
	if err == nil {
		err = n.collectDeletedOrphans(ctx)
	}
	if err != nil {
		return nil, ignoreErrKind(err, ErrNotFound)
	}
	// Copied under the lock, and put together after it: nothing under the lock may wait.
	var t table
	err = n.withTableLock(ctx, func() error {
		t.words = slices.Clone(n.words)
		t.records = slices.Clone(n.records)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Read after the names, so that the segment of each name that is ready is in the list, unless it has gone.
	segments, err := s.Segments(ctx)
	if err != nil {
		return nil, err
	}
	list := t.infos(segments)
	for i := range list {
		x := &list[i]
		if !x.InArea || x.Size == 0 {
			continue
		}
		_ = n.withSession(ctx, func(ctx context.Context) error { // else it is the first segment's
			a, err := area.Attach(ctx, s, s.Owner(), x.Handle)
			if err == nil {
				x.Size = a.Total()
				err = a.Detach()
			}
			return err
		})
	}
	return list, nil
}

// Names lists the names that a report of dsm.Inspect shows, sorted, as List does but for the sizes of areas. It takes
// no lock, and needs no session: it reads the copy in the report, in which a name that was being made or deleted may be
// missing. A root segment that holds no names is ErrCorrupt, a table of another layout version ErrVersion.
func Names(r dsm.Report) ([]Info, error) {
	if r.Root == nil {
		return nil, nil
	}
	t, err := open(shm.NewRegion(r.Root))
	if err != nil {
		return nil, err
	}
	return t.infos(r.Segments), nil
}

// infos describes the rows that are in use. Those of names whose segments have gone are not. The table is a copy, or
// bytes that no process changes, so no lock is needed. A row whose name does not fit the hash in its word is
// half-written or was hit by a stray store, and is left out. So is a name that is ready and whose handle leads to no
// segment.
func (t *table) infos(segments []dsm.SegmentInfo) (list []Info) {
	by := map[dsm.Handle]dsm.SegmentInfo{}
	for _, g := range segments {
		by[g.Handle] = g
	}
	for i := range t.words {
		w, r := t.words[i].Load(), t.records[i]
		x := Info{
			Name: tableText(r.name[:]), Kind: tableText(r.kind[:]), Type: tableText(r.typ[:]), Version: r.version,
			Handle: dsm.Handle(r.handle), Table: dsa.Pointer(r.table), InArea: r.memory == ownArea,
		}
		g, there := by[x.Handle]
		x.Size, x.Sessions = int64(g.Size), g.Holders
		switch tableWordState(w) {
		case making:
			x.State = StateMaking
		case ready:
			x.State = StateReady
		case going:
			x.State = StateGoing
		}
		if x.State != "" && x.Name != "" && tableWordHash(w) == tableHashOf(x.Name) && (there || x.State != StateReady) {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(x, y Info) int { return strings.Compare(x.Name, y.Name) })
	return list
}
