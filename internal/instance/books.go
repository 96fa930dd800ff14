package instance

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm"
)

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
	if err := b.openMembersRoll(); err != nil {
		return b, err
	}
	if access == dsmimpl.ReadWrite {
		b.openRegion(ctx)
	}
	return b, nil
}

// Part returns an entry's bytes in a mapping of what it lies in. The table has checked the bounds of every sound row.
func Part(m dsmimpl.Mapping, e *control.Entry) []byte {
	at, _ := e.Carved()
	return m.Bytes[at : at+e.Size : at+e.Size]
}

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
	if b.objectIsMissing(ctx, b.Record.controlObject()) {
		return "control segment"
	}
	if n := b.Table.Limits.Reserved; n > 0 && b.objectIsMissing(ctx, b.Record.regionObject(n)) {
		return "reserved region"
	}
	return ""
}

// FaultCause says why bytes of an entry may be gone from under their mapping, as far as its file system tells.
func (b *Books) FaultCause(e *control.Entry) string {
	r, ok := b.Backend.(interface {
		Room() (string, uint64, uint64)
	})
	if _, carved := e.Carved(); ok && !carved {
		if where, size, free := r.Room(); size > 0 && free < 1<<20 {
			return fmt.Sprintf("the file system of %s is full (%s of %s are free), and it could not keep what was "+
				"reserved: copy-on-write file systems can't when there is a snapshot. Make room, or set mmap_directory to "+
				"another one", where, bytesize.Format(free), bytesize.Format(size))
		}
	}
	return "the object was truncated, or its file system failed"
}

// Deserted reports whether no session lives here any more, and no supervisor either. It waits up to patience for killed
// processes to release their witness. It takes no lock: a supervisor that comes to take over would find the directory's
// lock held.
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

// Left returns when the last supervisor handed the instance over. It is zero if it did not, or if there is one now.
func (b *Books) Left() time.Time {
	if b.Supervised() {
		return time.Time{}
	}
	h, is, _ := b.Dir.HandedOver(b.Record)
	if !is {
		return time.Time{}
	}
	return h.Since
}
