package instance

import (
	"context"
	"errors"
	"slices"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/catalog"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Sweeping is a look through the system for objects that no books list.
type Sweeping struct {
	Instance      uuid.UUID
	Backends      Backends
	MmapDirectory string // besides the default one
	Current       *Books // of the present life, whose objects stay; nil if there is none
	Log           zerolog.Logger
}

// Sweep removes the objects that can be shown to be this instance's, and of no present life, and the
// members files of earlier generations in which nobody lives. It goes through every backend of the system
// that can list, since the last life may have used another one. An error says what could not be removed.
func (d *Dir) Sweep(ctx context.Context, s Sweeping) (removed int, err error) {
	over := d.deserted(s.generation()) // now: who lives yet may make an object behind the sweep's back, and die
	for _, x := range d.leftovers(ctx, s) {
		failpoint.Hit("instance/sweep/found")
		if derr := x.backend.Destroy(ctx, x.object); derr != nil {
			s.Log.Warn().Err(derr).Str("backend", x.backend.Name()).Msg("could not remove a leftover")
			err = errors.Join(err, derr)
			continue
		}
		removed++
	}
	failpoint.Hit("instance/sweep/swept")
	d.removeMembers(func(g uint64) bool { return slices.Contains(over, g) })
	if removed > 0 {
		s.Log.Info().Int("objects", removed).Msg("removed leftovers that no control segment listed")
	}
	return removed, err
}

type leftover struct {
	backend dsmimpl.Backend
	object  dsmimpl.Object
}

func (d *Dir) leftovers(ctx context.Context, s Sweeping) (list []leftover) {
	for _, b := range d.listers(s) {
		objects, err := b.(dsmimpl.Lister).List(ctx, s.Instance, s.generation())
		if err != nil {
			s.Log.Warn().Err(err).Str("backend", b.Name()).Msg("could not look for leftovers")
		}
		for _, o := range objects {
			if !s.present(b, o) {
				list = append(list, leftover{b, o})
			}
		}
	}
	return list
}

func (d *Dir) listers(s Sweeping) (list []dsmimpl.Backend) {
	add := func(b dsmimpl.Backend, err error) {
		if _, ok := b.(dsmimpl.Lister); ok && err == nil {
			list = append(list, b)
		}
	}
	for _, name := range catalog.Native() {
		add(catalog.New(name, d.file("mmap")))
	}
	if s.MmapDirectory != "" && s.MmapDirectory != d.file("mmap") {
		add(catalog.New("mmap", s.MmapDirectory))
	}
	if s.Backends.Custom != nil {
		add(s.Backends.Custom, nil)
	}
	return list
}

func (s Sweeping) generation() uint64 {
	if s.Current == nil {
		return 0
	}
	return s.Current.Record.Generation
}

// present says whether an object belongs to the present life. The list was made before the books are looked at, so
// what they do not list now is not being made.
func (s Sweeping) present(b dsmimpl.Backend, o dsmimpl.Object) bool {
	if s.Current == nil || !dsmimpl.SameGeneration(o.Generation, s.Current.Record.Generation) {
		return false
	}
	if b.Name() != s.Current.Backend.Name() {
		return false
	}
	return o.Row() == int(dsmimpl.ControlHandle) ||
		o.Row() == int(dsmimpl.RegionHandle) && s.Current.Limits.Reserved > 0 ||
		s.Current.RowState(o.Row()) != control.Free
}
