package instance

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// The life of an object: the order in which the books and the system change, so that a death between any two steps
// leaves nothing that the books do not tell.
//
//	Make    intent (the row is creating, and referenced) -> object -> live
//	        carved: row, reference and pages -> zeros -> live
//	Take    reference -> mapping
//	Give    mapping gone -> reference gone -> if it was the last: row destroying -> object gone -> row free
//
// What a dead member leaves, others finish: a row that is creating or destroying tells which object may exist, and a
// reference of a dead member is given back by the session or supervisor that reclaims it.

// intendObject carves the segment, or writes down the intent to make its object.
func (m *Member) intendObject(ctx context.Context, size int, now int64) (control.Entry, error) {
	entry, err := m.carveOrIntendObject(ctx, size, now)
	if errors.Is(err, errkind.TooManySegments) || errors.Is(err, errkind.Quota) {
		if n, rerr := m.ReclaimDead(ctx); n > 0 && rerr == nil && m.Settle(ctx) == nil {
			entry, err = m.carveOrIntendObject(ctx, size, now)
		}
	}
	return entry, err
}

func (m *Member) carveOrIntendObject(ctx context.Context, size int, now int64) (control.Entry, error) {
	if m.Carves {
		if entry, ok, err := m.Self.Carve(ctx, size, now); ok || err != nil {
			return entry, err
		}
	}
	return m.Self.Create(ctx, size, time.Now())
}

// publishCarvedObject zeroes a segment that was carved, and lets others attach it.
func (m *Member) publishCarvedObject(e *control.Entry) error {
	failpoint.Hit("dsm/create/carved")
	return m.Self.Publish(e, Part(m.Books.Region, e))
}

// maxCollisions bounds how often a segment gets another handle because a foreign object has its name.
const maxCollisions = 16

// makeObject makes and maps the object of a row that is creating. It returns the entry of the row in the end: a foreign
// object under the name is left alone, and another row is tried.
func (m *Member) makeObject(ctx context.Context, e control.Entry) (control.Entry, dsmimpl.Mapping, error) {
	undo := context.WithoutCancel(ctx)
	for tries := 0; ; tries++ {
		failpoint.Hit("dsm/create/intended")
		mapping, word, err := m.Books.createObject(ctx, e)
		if err == nil {
			e.Word = word
			failpoint.Hit("dsm/create/made")
			return e, mapping, nil
		}
		collides := errors.Is(err, fs.ErrExist)
		if !collides {
			m.Self.RefusedBySystem()
			// The backend may have been refused the removal too. Then the row stays creating, which
			// Leave and reclaim finish.
			if left := m.Books.removeObject(undo, e); left != nil {
				return e, mapping, errors.Join(err, left)
			}
		}
		failpoint.Hit("dsm/create/refused")
		abandoned := m.Self.Abandon(undo, e)
		if !collides || tries == maxCollisions || abandoned != nil {
			return e, mapping, errors.Join(err, abandoned)
		}
		if e, err = m.Self.Create(ctx, e.Size, time.Now()); err != nil {
			return e, mapping, err
		}
	}
}

// createObject makes and maps an entry's object. Word is what the books are to keep for the backend.
func (b *Books) createObject(ctx context.Context, e control.Entry) (m dsmimpl.Mapping, word uint64, err error) {
	err = b.containBackend("Create", func() error {
		m, word, err = b.Backend.Create(ctx, b.Object(e))
		return err
	})
	return m, word, err
}

// removeObject removes an entry's object, if it has one of its own.
func (b *Books) removeObject(ctx context.Context, e control.Entry) error {
	if _, carved := e.Carved(); carved {
		return nil
	}
	return b.containBackend("Destroy", func() error { return b.Backend.Destroy(ctx, b.Object(e)) })
}

// Object returns what the backend calls the object of an entry that has one of its own.
func (b *Books) Object(e control.Entry) dsmimpl.Object {
	return dsmimpl.Object{
		Life: b.Record.Life, Generation: b.Record.Generation,
		Handle: e.Handle, Size: e.Size, Word: e.Word, CreatorPid: e.CreatorPid,
	}
}

func (b *Books) objectIsMissing(ctx context.Context, o dsmimpl.Object) bool {
	m, err := b.Backend.Attach(ctx, o, dsmimpl.ReadOnly)
	if err == nil {
		err = b.Backend.Detach(m)
	}
	return errors.Is(err, errkind.NotFound)
}

// controlObject returns the object of r's control segment.
func (r Record) controlObject() dsmimpl.Object {
	return dsmimpl.Object{Life: r.Life, Generation: r.Generation, Handle: dsmimpl.ControlHandle}
}

// regionObject returns the object of r's reserved region. To remove it a size of 0 is enough.
func (r Record) regionObject(size uint64) dsmimpl.Object {
	return dsmimpl.Object{Life: r.Life, Generation: r.Generation, Handle: dsmimpl.RegionHandle, Size: int(size)}
}

// objectIsInUse asks the backend whether a process has an object open. Where that can't tell, only a directory that is known to
// be the very one that the life began in is proof that no other has the life's processes.
func (d *Dir) objectIsInUse(ctx context.Context, backend dsmimpl.Backend, o dsmimpl.Object, r Record) (bool, error) {
	if p, ok := backend.(dsmimpl.Prober); ok {
		used, err := p.InUse(ctx, o)
		if !errors.Is(err, errkind.Unsupported) {
			return used, err
		}
	}
	m, err := backend.Attach(ctx, o, dsmimpl.ReadOnly)
	if err != nil {
		if errors.Is(err, errkind.Corrupt) { // it is there
			err = nil
		}
		return d.verdictIsUncertain(r), err
	}
	return d.verdictIsUncertain(r), backend.Detach(m)
}
