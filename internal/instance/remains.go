package instance

import (
	"context"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Remains is what a look from outside finds of a directory's instance. The look takes no lock,
// joins nothing and changes nothing.
type Remains struct {
	Instance uuid.UUID // Nil if nothing has been started there
	Present  Verdict   // of the life that the directory names; its Record is zero if it names none
	Others   []Verdict // of the other lives that are listed
	Past     []uuid.UUID
	Hidden   error    // why nothing can be said
	Objects  []string // in the system, that bear a dead life, or the living one and that its books do not list
}

// Lives returns the lives whose objects are accounted for.
func (r Remains) Lives() (list []uuid.UUID) {
	for _, v := range append(r.Others, r.Present) {
		list = append(list, v.Record.Life)
	}
	return list
}

// Remains looks at the directory.
func (d *Dir) Remains(ctx context.Context, backends Backends) (r Remains) {
	log := zerolog.Nop()
	id, known, err := d.readID()
	if err != nil && !known {
		r.Hidden = err
		return r
	}
	r.Instance = id.Instance
	s, err := d.readLifeList(log)
	if err != nil {
		r.Hidden = err
		return r
	}
	r.Past = s.Past
	present := d.presentLife(s, log)
	for i, x := range s.Lives {
		v, err := d.judge(ctx, backends, x, 0)
		if err != nil {
			r.Hidden = err
			return r
		}
		if i == present {
			r.Present = v
		} else {
			r.Others = append(r.Others, v)
		}
		r.Objects = append(r.Objects, d.remainingObjects(ctx, backends, v)...)
	}
	return r
}

// remainingObjects returns the objects that bear a life and are removed by the next start or clean.
func (d *Dir) remainingObjects(ctx context.Context, backends Backends, v Verdict) (list []string) {
	if v.Standing != Dead && v.Standing != Alive && v.Standing != Left {
		return nil
	}
	objects := d.leftovers(ctx, backends, v.Record, zerolog.Nop())
	is := func(leftover) bool { return true }
	if v.scattered {
		is = d.notInUse(ctx, v.Record)
	}
	if v.Standing == Alive || v.Standing == Left {
		backend, err := d.backend(backends, v.Record)
		if err != nil {
			return nil
		}
		books, err := d.OpenBooks(ctx, v.Record, backend, dsmimpl.ReadOnly)
		if err != nil {
			return nil
		}
		defer books.Close()
		is = books.namedByNoRow
	}
	for _, x := range objects {
		if is(x) {
			list = append(list, x.where())
		}
	}
	return list
}
