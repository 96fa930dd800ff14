package instance

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/rs/zerolog"
)

type leftover struct {
	backend dsmimpl.Backend
	object  dsmimpl.Object
}

func (x leftover) where() string {
	if l, ok := x.backend.(dsmimpl.Locator); ok {
		return l.Locate(x.object)
	}
	return x.object.Name()
}

// sweep removes the objects in the system that bear a life: of a life that is over, or that this process ends. It goes
// through every backend of the system that can list, since a record may be lost. Where only is set, objects that it
// refuses stay. It returns how many it removed, and how many are left.
func (d *Dir) sweep(ctx context.Context, b Backends, r Record, only func(leftover) bool,
	log zerolog.Logger) (removed, left int) {
	for _, x := range d.leftovers(ctx, b, r, log) {
		failpoint.Hit("instance/sweep/found")
		if only != nil && !only(x) {
			left++
			continue
		}
		if err := x.backend.Destroy(ctx, x.object); err != nil {
			log.Warn().Err(err).Str("object", x.where()).Str("event", "leftover-kept").Msg("could not remove a leftover")
			left++
			continue
		}
		removed++
	}
	failpoint.Hit("instance/sweep/swept")
	if removed > 0 {
		log.Info().Int("objects", removed).Str("event", "leftovers-removed").Msg("removed leftovers that no control segment listed")
	}
	return removed, left
}

// notInUse reports whether no process has a leftover open.
func (d *Dir) notInUse(ctx context.Context, r Record) func(leftover) bool {
	return func(x leftover) bool {
		used, err := d.inUse(ctx, x.backend, x.object, r)
		return err == nil && !used
	}
}

func (d *Dir) leftovers(ctx context.Context, b Backends, r Record, log zerolog.Logger) (list []leftover) {
	for _, backend := range d.listers(b, r) {
		objects, err := backend.(dsmimpl.Lister).List(ctx, r.Life, r.Generation)
		if err != nil {
			log.Warn().Err(err).Str("backend", backend.Name()).Str("event", "leftovers-unseen").Msg("could not look for leftovers")
		}
		for _, o := range objects {
			list = append(list, leftover{backend, o})
		}
	}
	return list
}

func (d *Dir) listers(b Backends, r Record) (list []dsmimpl.Backend) {
	add := func(b dsmimpl.Backend, err error) {
		if _, ok := b.(dsmimpl.Lister); ok && err == nil {
			list = append(list, b)
		}
	}
	for _, name := range catalog.Native() {
		if name == "mmap" {
			add(d.backend(b, Record{Backend: name, MmapDirectory: "mmap"}))
		} else {
			add(catalog.New(name, ""))
		}
	}
	if dir := r.MmapDirectory; dir != "" && !r.inOwnDirectory() && filepath.Clean(dir) != d.file("mmap") {
		add(catalog.New("mmap", dir))
	}
	if b.Custom != nil {
		add(b.Custom, nil)
	}
	return list
}

// namedByNoRow reports whether an object of a living life is of none of its rows. The list of objects must have been
// made before the books are looked at: what they do not list then is not being made.
func (b *Books) namedByNoRow(x leftover) bool {
	if x.backend.Name() != b.Backend.Name() || !dsmimpl.SameGeneration(x.object.Generation, b.Record.Generation) {
		return true
	}
	return x.object.Row() != int(dsmimpl.ControlHandle) &&
		!(x.object.Row() == int(dsmimpl.RegionHandle) && b.Table.Limits.Reserved > 0) &&
		b.Table.RowState(x.object.Row()) == control.Free
}

// clearDeadLife removes all that bears a life of which no process lives in this directory, and strikes it off the
// list. What processes elsewhere have open stays, if only is set, and so does the life then.
func (d *Dir) clearDeadLife(ctx context.Context, b Backends, r Record, only func(leftover) bool,
	log zerolog.Logger) (removed int, err error) {
	removed, left := d.sweep(ctx, b, r, only, log)
	if left > 0 {
		return removed, errLeft
	}
	d.removeMembers(r)
	failpoint.Hit("instance/clear/members")
	if err := d.removeLife(r, log); err != nil && !errors.Is(err, fs.ErrNotExist) { // else the directory has been removed
		log.Warn().Err(err).Str("event", "life-unstruck").Msg("a life of which nothing is left stays listed; the next start finds that out")
	}
	return removed, nil
}

var errLeft = errors.New("some objects could not be removed, or are in use: they are looked for again")
