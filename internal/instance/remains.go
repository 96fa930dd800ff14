package instance

import (
	"context"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/atomicfile"
	"github.com/godsm/godsm/internal/liveness"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Remains is what a look from outside finds of a directory's instance. The look takes no lock,
// joins nothing and changes nothing.
type Remains struct {
	Instance   uuid.UUID // Nil if nothing has been started there
	Copy       bool      // the directory is a copy of another instance's, whose objects are nobody's business here
	Supervised bool
	Sessions   int      // that live
	Hidden     error    // why the control segment of those who live can't be seen from here
	Objects    []string // in the system, that bear the instance's id and that nobody's life accounts for
}

// Alive says whether anybody lives in the instance.
func (r Remains) Alive() bool { return r.Supervised || r.Sessions > 0 }

// Remains looks at the directory.
func (d *Dir) Remains(ctx context.Context, backends Backends) (r Remains) {
	record, recordErr := d.ReadRecord()
	var id identity
	if atomicfile.Read(d.file("id"), &id) != nil {
		if recordErr != nil {
			return r
		}
		id = identity{record.Instance, record.Dir, record.Boot}
	}
	if r.Instance = id.Instance; !d.is(id) {
		r.Copy = true
		return r
	}
	for _, g := range d.generations() {
		roll, err := liveness.Open(d.members(g))
		if refused(err) != nil {
			r.Hidden = err
			return r
		}
		if err != nil {
			continue
		}
		supervised := roll.Held(control.SupervisorRow)
		r.Supervised = r.Supervised || supervised
		n, err := held(roll)
		roll.Close()
		if err != nil {
			r.Hidden = err
			return r
		}
		if r.Sessions += n; supervised {
			r.Sessions--
		}
	}
	s := Sweeping{Instance: r.Instance, Backends: backends, MmapDirectory: record.MmapDirectory, Log: zerolog.Nop()}
	if r.Alive() {
		books, err := d.recordedBooks(ctx, backends, record, recordErr)
		if err != nil {
			r.Hidden = err
			return r
		}
		defer books.Close()
		s.Current = books
	}
	for _, x := range d.leftovers(ctx, s) {
		where := x.object.Name()
		if l, ok := x.backend.(dsmimpl.Locator); ok {
			where = l.Locate(x.object)
		}
		r.Objects = append(r.Objects, where)
	}
	return r
}

func (d *Dir) recordedBooks(ctx context.Context, backends Backends, r Record, err error) (*Books, error) {
	if err != nil {
		return nil, err
	}
	backend, err := backends.Of(r.Backend, r.MmapDirectory)
	if err != nil {
		return nil, err
	}
	return d.OpenBooks(ctx, r, backend, dsmimpl.ReadOnly)
}
