package instance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/internal/sys/folder"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm"
)

// Backends finds the backend for a setting. Custom is one that the program plugs in; it is meant
// wherever its name stands.
type Backends struct{ Custom dsmimpl.Backend }

// Types returns what dynamic_shared_memory_type may be, the default first.
func (b Backends) Types() []string {
	types := []string{catalog.Default()}
	if b.Custom != nil {
		types = []string{b.Custom.Name()}
	}
	return append(types, catalog.Names...)
}

// housed is implemented by backends whose objects may be files of a directory in the instance's own.
type housedBackend interface {
	In(dir *folder.Folder, name string) dsmimpl.Backend
	Close() error
}

// inOwnDirectory reports whether the life's objects are files of the instance's own directory.
func (r Record) inOwnDirectory() bool {
	return r.Backend == "mmap" && r.MmapDirectory != "" && r.MmapDirectory == filepath.Base(r.MmapDirectory)
}

// BackendOf returns the backend of a life of the instance in this directory.
func (d *Dir) BackendOf(b Backends, r Record) (dsmimpl.Backend, error) { return d.backend(b, r) }

func (d *Dir) backend(b Backends, r Record) (dsmimpl.Backend, error) {
	backend, err := b.Of(r.Backend, r.MmapDirectory)
	if h, ok := backend.(housedBackend); ok && r.inOwnDirectory() {
		backend = h.In(d.Folder, r.MmapDirectory)
	}
	return backend, err
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

// LoadToLook resolves the settings for a process that only looks: see settings.LoadToLook.
func (b Backends) LoadToLook(dir string, program map[string]string) (*settings.Settings, error) {
	return settings.LoadToLook(dir, b.Types(), program)
}

// Books are an instance's control segment as this process has it mapped, and the members file that goes with it.
type Books struct {
	Table     *control.Table
	Dir       *Dir
	Record    Record
	Backend   dsmimpl.Backend
	Roll      *liveness.Roll
	mapping   dsmimpl.Mapping
	Region    dsmimpl.Mapping // of the reserved region; none if there is none, or RegionErr says why not
	RegionErr error
	keeps     bool      // Close leaves the region mapped
	view      *shm.View // of the control segment, for sessions that may write it
}

// controlObject returns the object of r's control segment.
func (r Record) controlObject() dsmimpl.Object {
	return dsmimpl.Object{Life: r.Life, Generation: r.Generation, Handle: dsmimpl.ControlHandle}
}

// regionObject returns the object of r's reserved region. To remove it a size of 0 is enough.
func (r Record) regionObject(size uint64) dsmimpl.Object {
	return dsmimpl.Object{Life: r.Life, Generation: r.Generation, Handle: dsmimpl.RegionHandle, Size: int(size)}
}

// removeBooks removes what every life has besides segments: the reserved region, if there is one,
// and last of all the control segment.
func (r Record) removeBooks(ctx context.Context, b dsmimpl.Backend) error {
	if err := b.Destroy(ctx, r.regionObject(0)); err != nil {
		return fmt.Errorf("reserved region: %w", err)
	}
	failpoint.Hit("instance/remove/region")
	if err := b.Destroy(ctx, r.controlObject()); err != nil {
		return fmt.Errorf("control segment: %w", err)
	}
	return nil
}

// OpenBooks maps the control segment of r's life and checks that it is that: instance, generation, members file. No
// control segment is ErrNotFound, one that can't be trusted ErrCorrupt.
func (d *Dir) OpenBooks(ctx context.Context, r Record, backend dsmimpl.Backend,
	access dsmimpl.Access) (b *Books, err error) {
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
	if b.Table, err = control.Open(b.bytes(access)); err != nil {
		return b, errkind.As(errkind.Corrupt, err) // also of another version, since the record names this program's
	}
	if b.Table.Instance != r.Instance || b.Table.Life != r.Life || b.Table.Generation != r.Generation {
		return b, errkind.As(errkind.Corrupt,
			fmt.Errorf("control segment: it says instance %s life %s generation %d, not %s, %s, %d", b.Table.Instance,
				b.Table.Life, b.Table.Generation, r.Instance, r.Life, r.Generation))
	}
	if err := b.openRoll(); err != nil {
		return b, err
	}
	if access == dsmimpl.ReadWrite {
		b.openRegion(ctx)
	}
	return b, nil
}

// openRegion maps the reserved region, for sessions that will allocate from it. A failure does not prevent joining;
// RegionErr keeps it.
func (b *Books) openRegion(ctx context.Context) {
	if b.Table.Limits.Reserved > 0 {
		b.Region, b.RegionErr = b.mapRegion(ctx, dsmimpl.ReadWrite)
	}
}

func (b *Books) mapRegion(ctx context.Context, access dsmimpl.Access) (dsmimpl.Mapping, error) {
	m, err := b.Backend.Attach(ctx, b.Record.regionObject(b.Table.Limits.Reserved), access)
	if err != nil {
		err = fmt.Errorf("reserved region: %w", err)
	}
	return m, err
}

// Part returns an entry's bytes in a mapping of what it lies in. The table has checked the bounds of every sound row.
func Part(m dsmimpl.Mapping, e *control.Entry) []byte {
	at, _ := e.Carved()
	return m.Bytes[at : at+e.Size : at+e.Size]
}

// KeepRegion makes the mapping of the reserved region the caller's to end. Close then does not unmap it.
func (b *Books) KeepRegion() { b.keeps = true }

// TakeControl makes the mapping of the control segment the caller's. Close then does not unmap it.
func (b *Books) TakeControl() (m dsmimpl.Mapping) {
	m, b.mapping = b.mapping, dsmimpl.Mapping{}
	return m
}

// Close unmaps the control segment and, unless KeepRegion was called, the reserved region. No goroutine may be blocked
// in a method of the table, except at a mailbox: such a wait ends.
func (b *Books) Close() {
	b.endView()
	if b.Roll != nil {
		b.Roll.Close()
	}
	if b.Region.Bytes != nil && !b.keeps {
		_ = b.Unmap(b.Region)
	}
	if b.mapping.Bytes != nil {
		_ = b.Unmap(b.mapping)
	}
	if h, ok := b.Backend.(housedBackend); ok {
		_ = h.Close()
	}
}

// Object returns what the backend calls the object of an entry that has one of its own.
func (b *Books) Object(e control.Entry) dsmimpl.Object {
	return dsmimpl.Object{
		Life: b.Record.Life, Generation: b.Record.Generation,
		Handle: e.Handle, Size: e.Size, Word: e.Word, CreatorPid: e.CreatorPid,
	}
}

// Where returns the name under which a person finds the object of an entry in the system.
func (b *Books) Where(e control.Entry) string { return b.Places()(e) }

// Places returns what Where is for many entries: it makes the name of the reserved region, which they may all lie in,
// once.
func (b *Books) Places() func(e control.Entry) string {
	locate := dsmimpl.Object.Name
	if l, ok := b.Backend.(dsmimpl.Locator); ok {
		locate = l.Locate
	}
	region := locate(b.Record.regionObject(b.Table.Limits.Reserved)) + " at byte "
	return func(e control.Entry) string {
		if at, carved := e.Carved(); carved {
			return region + strconv.Itoa(at)
		}
		return locate(b.Object(e))
	}
}

// Supervised reports whether a supervisor lives.
func (b *Books) Supervised() bool { return b.Roll.Held(control.SupervisorRow) }

// SupervisorPid returns the pid of the supervisor, or of the last one.
func (b *Books) SupervisorPid() int {
	list, err := b.Table.Processes()
	for _, p := range list {
		if err == nil && p.Row == control.SupervisorRow {
			return p.Pid
		}
	}
	return b.Record.SupervisorPid
}

// Lost returns which of the control segment and the reserved region, which are mapped here, no process can find any
// more, since it was removed. It is empty if both are there.
func (b *Books) Lost(ctx context.Context) (what string) {
	if b.isMissing(ctx, b.Record.controlObject()) {
		return "control segment"
	}
	if n := b.Table.Limits.Reserved; n > 0 && b.isMissing(ctx, b.Record.regionObject(n)) {
		return "reserved region"
	}
	return ""
}

func (b *Books) isMissing(ctx context.Context, o dsmimpl.Object) bool {
	m, err := b.Backend.Attach(ctx, o, dsmimpl.ReadOnly)
	if err == nil {
		err = b.Backend.Detach(m)
	}
	return errors.Is(err, errkind.NotFound)
}
