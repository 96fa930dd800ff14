package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Birth holds the parameters of a new life.
type Birth struct {
	Instance   uuid.UUID
	Generation uint64
	Settings   *settings.Settings
	Reserved   uint64 // bytes of the region
	Backend    dsmimpl.Backend
	Private    bool
	Who        control.Who
}

// Begin starts a new life. It is written down before anything of it is made: list of lives, members file, record,
// reserved region, control segment, supervisor's row, in this order, so that whatever was made when it ends early is
// found by the next start. The caller holds the directory's lock.
func (d *Dir) Begin(ctx context.Context, b Birth, log zerolog.Logger) (m *Member, err error) {
	for range 16 {
		m, err = d.begin(ctx, b, log)
		if !errors.Is(err, fs.ErrExist) {
			return m, err
		}
		// another object has the control segment's key: the next life has another
	}
	return nil, err
}

// plan returns the record of a new life.
func (d *Dir) plan(b Birth) (r Record, backend dsmimpl.Backend, err error) {
	r = Record{
		Instance: b.Instance, Layout: control.LayoutVersion, Generation: b.Generation, Backend: b.Backend.Name(),
		Private: b.Private, Settings: recordedSettings(b.Settings), SupervisorPid: b.Who.Pid, Dir: d.Identity(),
	}
	if r.Boot, err = bootID(); err != nil {
		return r, nil, err
	}
	if r.Life, err = uuid.NewRandom(); err != nil {
		return r, nil, err
	}
	backend = b.Backend
	r.MmapDirectory = b.Settings.MmapDirectory
	if filepath.Dir(r.MmapDirectory) == d.Path {
		r.MmapDirectory = filepath.Base(r.MmapDirectory)
	}
	if h, ok := backend.(housedBackend); ok {
		if err := d.checkMmapDirectory(b.Settings.MmapDirectory); err != nil {
			return r, nil, err
		}
		if r.recordIsInOwnDirectory() {
			backend = h.In(d.Folder, r.MmapDirectory)
		}
	}
	r.Memory = memoryOf(backend)
	if l, ok := backend.(dsmimpl.Locator); ok {
		r.Control = l.Locate(r.controlObject())
	}
	return r, backend, nil
}

func (d *Dir) begin(ctx context.Context, b Birth, log zerolog.Logger) (m *Member, err error) {
	r, backend, err := d.plan(b)
	if err != nil {
		return nil, err
	}
	b.Reserved = (b.Reserved + control.PageSize - 1) / control.PageSize * control.PageSize
	o := r.controlObject()
	limits := control.Limits{
		Processes: b.Settings.MaxProcesses, Segments: b.Settings.MaxSegments,
		SegmentsPerProcess: b.Settings.MaxSegmentsPerProcess, Memory: b.Settings.MaxMemory,
		MemoryPerProcess: b.Settings.MaxMemoryPerProcess, Reserved: b.Reserved,
	}
	if err := limits.Check(); err != nil {
		return nil, err
	}
	o.Size = control.Size(limits)

	var undo []func() // newest last
	books := &Books{Dir: d, Record: r, Backend: backend}
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	undo = append(undo, func() { _ = d.removeLife(r, log) })
	if err := d.addLife(r, log); err != nil {
		return nil, errkind.Classify(err)
	}
	failpoint.Hit("instance/begin/listed")
	undo = append(undo, func() { d.removeMembers(r) })
	if err := liveness.CreateIn(d.Folder, r.membersFile()); err != nil {
		return nil, errkind.Classify(err)
	}
	failpoint.Hit("instance/begin/members")
	undo = append(undo, func() { books.Close(); failpoint.Hit("instance/begin/refused") })
	if books.Roll, err = liveness.OpenIn(d.Folder, r.membersFile()); err != nil {
		return nil, errkind.Classify(err)
	}
	if err := books.Roll.Prove(control.SupervisorRow); err != nil {
		return nil, err
	}
	if err := d.WriteRecord(r); err != nil {
		return nil, errkind.Classify(err)
	}
	failpoint.Hit("instance/begin/recorded")
	if b.Reserved > 0 {
		if books.Region, _, err = backend.Create(ctx, r.regionObject(b.Reserved)); err != nil {
			return nil, fmt.Errorf("min_dynamic_shared_memory: a region of %d bytes: %w", b.Reserved, err)
		}
		undo = append(undo, func() { _ = backend.Destroy(context.WithoutCancel(ctx), r.regionObject(0)) })
		failpoint.Hit("instance/begin/reserved")
	}
	if books.mapping, o.Word, err = backend.Create(ctx, o); err != nil {
		return nil, fmt.Errorf("control segment: %w", err)
	}
	undo = append(undo, func() { _ = backend.Destroy(context.WithoutCancel(ctx), o) })
	failpoint.Hit("instance/begin/made")
	region, witness := shm.NewRegion(books.mapping.Bytes), books.Roll.Identity()
	if err := control.Format(region, control.Constants{
		Instance: b.Instance, Life: r.Life, Generation: b.Generation, Backend: b.Backend.Name(), Dir: d.Path,
		MembersDev: witness.Dev, MembersIno: witness.Ino, Limits: limits,
	}); err != nil {
		return nil, err
	}
	if books.Table, err = control.Open(region); err != nil {
		return nil, err
	}
	books.heedMembersInForce()
	failpoint.Hit("instance/begin/formatted")
	if m, err = books.JoinSupervisor(ctx, b.Who, log); err == nil {
		m.Self.Say(control.Began)
	}
	return m, err
}

// End closes the instance's life: no call begins any more, every segment is removed, and at last the control segment.
// It waits up to timeout for sessions that are creating or removing a segment and, if sessions is set, for all to
// leave. The supervisor's member calls it; the caller closes the mapping of the books.
func (m *Member) End(ctx context.Context, timeout time.Duration, sessions bool) error {
	ctx = context.WithoutCancel(ctx)
	bounded, cancel := context.WithTimeout(ctx, max(timeout, time.Second)) // the lock's holder may be stopped
	defer cancel()
	err := m.Self.Close(bounded)
	failpoint.Hit("instance/end/closed")
	if err == nil {
		err = m.drainSessions(ctx, timeout, sessions)
	}
	if err != nil {
		m.Log.Error().Err(Explain(err)).Str("event", "end-forced").Msg("orderly shutdown failed; forcing it")
		m.endWithoutLock(ctx)
	}
	failpoint.Hit("instance/end/wound")
	m.keepEvents()
	return m.Books.Record.removeBooks(ctx, m.Books.Backend)
}

// drainSessions waits, in a closing instance, until no session is creating or removing a segment. What could not be
// removed is tried again, a few times: the sweep that follows finds it only where the backend can list.
func (m *Member) drainSessions(ctx context.Context, timeout time.Duration, sessions bool) error {
	deadline := time.Now().Add(timeout)
	for retries := 0; ; time.Sleep(2 * time.Millisecond) {
		if _, err := m.ReclaimDead(ctx); err != nil {
			return err
		}
		if err := m.Settle(ctx); err != nil {
			return err
		}
		busy, err := m.stillBusy(sessions)
		if err != nil {
			return err
		}
		if busy == "" {
			failed, _, err := m.Books.Table.Used()
			if err != nil || failed == 0 || retries == 3 {
				return err
			}
			retries++
			if err := m.Self.Retry(ctx); err != nil {
				return err
			}
			continue
		}
		if time.Now().After(deadline) {
			m.Log.Warn().Str("event", "end-busy").Msgf("the instance ends though %s", busy)
			return nil
		}
	}
}

// endWithoutLock ends a life without the control lock, which is unavailable, or whose books can't be trusted: it sets
// closing, which every session reads, and removes every object that a sound row names. The sweep finds the rest.
func (m *Member) endWithoutLock(ctx context.Context) {
	_ = m.Books.Table.CloseByForce()
	failpoint.Hit("instance/end/forced")
	list, err := m.Books.Table.Segments()
	if err != nil {
		m.Log.Error().Err(err).Str("event", "control-unreadable").Msg("the control segment can't be read")
	}
	for _, s := range list {
		if !s.Sound {
			continue
		}
		if err := m.Books.removeObject(ctx, s.Entry); err != nil {
			m.Log.Warn().Err(err).Str("object", m.Books.Where(s.Entry)).Str("event", "segment-kept").Msg("could not remove a segment")
		}
	}
}

// Conclude removes what is left of a life that has ended, but what fenced sessions still live in: that life stays listed
// until they have ended. The caller holds the directory's lock and has closed the life's books.
func (d *Dir) Conclude(ctx context.Context, b Backends, r Record, log zerolog.Logger) error {
	if d.noSessionIsLiving(r) {
		_, err := d.sweepDeadLife(ctx, b, r, nil, log)
		return err
	}
	if _, left := d.sweep(ctx, b, r, nil, log); left > 0 {
		return errLeft
	}
	return nil
}
