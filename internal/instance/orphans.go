package instance

import (
	"context"
	"maps"
	"slices"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/shm"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// finder is implemented by backends that can list the control segments of this user that no process has open, whatever
// life they are of.
type finder interface {
	Abandoned(ctx context.Context, read func([]byte) (uuid.UUID, uint64, bool)) ([]dsmimpl.Object, error)
}

// Orphan is a life of this user's that no directory lists, and that no process uses: its directory was removed, or made
// anew in the place of another.
type Orphan struct {
	Life    uuid.UUID
	Dir     string // where it began, as its control segment says
	Backend string
	Objects []string
	record  Record
	list    []leftover
}

// Orphans finds them by their control segments. Those that a directory lists are that one's to start or clean.
func Orphans(ctx context.Context) []Orphan {
	found := map[uuid.UUID]Orphan{}
	for _, name := range catalog.Native() {
		b, err := catalog.New(name, "")
		f, ok := b.(finder)
		if err != nil || !ok {
			continue
		}
		objects, _ := f.Abandoned(ctx, readOrphanControl)
		for _, o := range objects {
			x, ok := orphanOf(ctx, b, o)
			if ok && !orphanIsListed(x) {
				found[x.Life] = x
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Orphan) int { return slices.Compare(a.Life[:], b.Life[:]) })
}

// readOrphanControl reports whether bytes are a control segment's, and of which life.
func readOrphanControl(b []byte) (life uuid.UUID, generation uint64, ok bool) {
	t, err := control.Open(shm.NewRegion(b))
	if err != nil {
		return life, 0, false
	}
	return t.Life, t.Generation, true
}

func orphanOf(ctx context.Context, b dsmimpl.Backend, o dsmimpl.Object) (x Orphan, ok bool) {
	m, err := b.Attach(ctx, o, dsmimpl.ReadOnly)
	if err != nil {
		return x, false
	}
	t, err := control.Open(shm.NewRegion(m.Bytes))
	_ = b.Detach(m)
	if err != nil || t.Backend != b.Name() || t.Life != o.Life {
		return x, false
	}
	x = Orphan{Life: t.Life, Dir: t.Dir, Backend: b.Name(),
		record: Record{Instance: t.Instance, Life: t.Life, Generation: t.Generation, Backend: b.Name()}}
	objects, err := b.(dsmimpl.Lister).List(ctx, t.Life, t.Generation)
	for _, o := range objects {
		l := leftover{b, o}
		x.list, x.Objects = append(x.list, l), append(x.Objects, l.where())
	}
	return x, err == nil && len(objects) > 0
}

// orphanIsListed reports whether the directory that a life began in knows of it.
func orphanIsListed(x Orphan) bool {
	d, err := OpenDir(x.Dir)
	if err != nil {
		return false
	}
	defer d.Close()
	s, err := d.readLifeList(zerolog.Nop())
	return err != nil || slices.ContainsFunc(s.Lives, x.record.sameLife)
}

// Remove removes the orphan's objects that no process has open, and says how many those were.
func (x Orphan) Remove(ctx context.Context) (removed int, err error) {
	for _, l := range x.list {
		used, err := l.backend.(dsmimpl.Prober).InUse(ctx, l.object)
		if err != nil || used {
			continue
		}
		if err := l.backend.Destroy(ctx, l.object); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
