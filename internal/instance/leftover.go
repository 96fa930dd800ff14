package instance

import (
	"context"
	"path/filepath"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
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

// notInUse reports whether no process has a leftover open.
func (d *Dir) notInUse(ctx context.Context, r Record) func(leftover) bool {
	return func(x leftover) bool {
		used, err := d.objectIsInUse(ctx, x.backend, x.object, r)
		return err == nil && !used
	}
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
	if dir := r.MmapDirectory; dir != "" && !r.recordIsInOwnDirectory() && filepath.Clean(dir) != d.file("mmap") {
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
