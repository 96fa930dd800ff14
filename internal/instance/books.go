package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/catalog"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/liveness"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/shm"
)

// Backends finds the backend for a setting. Custom is one that the program plugs in; it is meant wherever its name stands.
type Backends struct{ Custom dsmimpl.Backend }

// Types are what dynamic_shared_memory_type may be, the default first.
func (b Backends) Types() []string {
	types := []string{catalog.Default()}
	if b.Custom != nil {
		types = []string{b.Custom.Name()}
	}
	return append(types, catalog.Names...)
}

// Of returns the backend of that name.
func (b Backends) Of(name, mmapDirectory string) (dsmimpl.Backend, error) {
	if b.Custom != nil && b.Custom.Name() == name {
		return b.Custom, nil
	}
	return catalog.New(name, mmapDirectory)
}

// Load resolves the settings of the instance in dir.
func (b Backends) Load(dir string, program map[string]string) (*settings.Settings, error) {
	return settings.Load(dir, b.Types(), program)
}

// Books are an instance's control segment as this process has it mapped, and the members file that goes with it.
type Books struct {
	*control.Table
	Dir     *Dir
	Record  Record
	Backend dsmimpl.Backend
	Roll    *liveness.Roll
	mapping dsmimpl.Mapping
}

// controlObject is the object of r's control segment.
func (r Record) controlObject() dsmimpl.Object {
	return dsmimpl.Object{Instance: r.Instance, Generation: r.Generation, Handle: dsmimpl.ControlHandle}
}

// OpenBooks maps the control segment of r's life and checks that it is that: instance, generation, members file. No
// control segment is ErrNotFound, one that can't be trusted ErrCorrupt.
func (d *Dir) OpenBooks(ctx context.Context, r Record, backend dsmimpl.Backend, access dsmimpl.Access) (b *Books, err error) {
	b = &Books{Dir: d, Record: r, Backend: backend}
	defer func() {
		if err != nil {
			b.Close()
			b = nil
		}
	}()
	if b.mapping, err = backend.Attach(ctx, r.controlObject(), access); err != nil {
		return b, fmt.Errorf("control segment: %w", err)
	}
	if b.Table, err = control.Open(shm.NewRegion(b.mapping.Bytes)); err != nil {
		return b, err
	}
	if b.Table.Instance != r.Instance || b.Table.Generation != r.Generation {
		return b, errkind.As(errkind.Corrupt, fmt.Errorf("control segment: it says instance %s generation %d, not %s generation %d",
			b.Table.Instance, b.Table.Generation, r.Instance, r.Generation))
	}
	if b.Roll, err = liveness.Open(d.members(r.Generation)); err != nil {
		return b, errkind.As(errkind.Corrupt, fmt.Errorf("members file: %w", err))
	}
	if id := b.Roll.Identity(); id != (liveness.Identity{Dev: b.Table.MembersDev, Ino: b.Table.MembersIno}) {
		return b, errkind.As(errkind.Corrupt, fmt.Errorf("members file: %s is not the one that the control segment was made with", d.members(r.Generation)))
	}
	return b, nil
}

// Close unmaps. Nobody may wait in the table any more.
func (b *Books) Close() {
	if b.Roll != nil {
		b.Roll.Close()
	}
	if b.mapping.Bytes != nil {
		_ = b.Backend.Detach(b.mapping)
	}
}

// Object is what the backend calls the object of an entry.
func (b *Books) Object(e control.Entry) dsmimpl.Object {
	return dsmimpl.Object{
		Instance: b.Record.Instance, Generation: b.Record.Generation,
		Handle: e.Handle, Size: e.Size, Word: e.Word, CreatorPid: e.CreatorPid,
	}
}

// Where is what a person would look for in the system to see the object.
func (b *Books) Where(e control.Entry) string {
	if l, ok := b.Backend.(dsmimpl.Locator); ok {
		return l.Locate(b.Object(e))
	}
	return b.Object(e).Name()
}

// Supervised says whether a supervisor lives.
func (b *Books) Supervised() bool { return b.Roll.Held(control.SupervisorRow) }

// Lost says whether the control segment that is mapped here can be found by nobody any more: somebody has removed it.
func (b *Books) Lost(ctx context.Context) bool {
	m, err := b.Backend.Attach(ctx, b.Record.controlObject(), dsmimpl.ReadOnly)
	if err == nil {
		err = b.Backend.Detach(m)
	}
	return errors.Is(err, errkind.NotFound)
}

// Living counts the sessions that live, the supervisor not counted.
func (b *Books) Living() (n int, err error) {
	list, err := b.Processes()
	for _, p := range list {
		if p.Row != control.SupervisorRow && b.Roll.Held(p.Row) {
			n++
		}
	}
	return n, err
}

// Deserted says whether nobody lives here any more, the supervisor neither. It waits so long for processes that seem to live to be
// seen dead; without the directory's lock, which a supervisor that comes to take over would find held.
func (b *Books) Deserted(patience time.Duration) bool {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		n, err := b.Living()
		if err != nil || n == 0 && !b.Supervised() {
			return err == nil
		}
		if time.Now().After(end) {
			return false
		}
	}
}
