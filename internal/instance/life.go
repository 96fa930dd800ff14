package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/atomicfile"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/liveness"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/shm"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Birth is what a new generation is made of.
type Birth struct {
	Instance   uuid.UUID
	Generation uint64 // the first to try
	Settings   *settings.Settings
	Reserved   uint64 // bytes of the region
	Backend    dsmimpl.Backend
	Private    bool
	Who        control.Who
}

// Begin starts a new generation: members file, record, reserved region, control segment,
// supervisor's row, in this order, so that whatever was made when it ends early is found by the
// next start. The caller holds the directory's lock.
func (d *Dir) Begin(ctx context.Context, b Birth, log zerolog.Logger) (m *Member, err error) {
	for range 16 {
		m, err = d.begin(ctx, b, log)
		if !errors.Is(err, fs.ErrExist) {
			return m, err
		}
		b.Generation++ // something foreign stands under the control segment's name or key
	}
	return nil, err
}

func (d *Dir) begin(ctx context.Context, b Birth, log zerolog.Logger) (m *Member, err error) {
	if b.Backend.Name() == "mmap" {
		if err := d.checkMmapDirectory(b.Settings.MmapDirectory); err != nil {
			return nil, err
		}
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	b.Reserved = (b.Reserved + control.PageSize - 1) / control.PageSize * control.PageSize
	r := Record{
		Instance: b.Instance, Generation: b.Generation, Backend: b.Backend.Name(),
		MmapDirectory: b.Settings.MmapDirectory, Private: b.Private, Settings: lasting(b.Settings),
		SupervisorPid: b.Who.Pid, Boot: boot, Dir: d.id,
	}
	o := r.controlObject()
	if l, ok := b.Backend.(dsmimpl.Locator); ok {
		r.Control = l.Locate(o)
	}
	limits := control.Limits{
		Processes: b.Settings.MaxProcesses, Segments: b.Settings.MaxSegments,
		SegmentsPerProcess: b.Settings.MaxSegmentsPerProcess, Memory: b.Settings.MaxMemory,
		MemoryPerProcess: b.Settings.MaxMemoryPerProcess, Reserved: b.Reserved,
	}
	if err := limits.Check(); err != nil {
		return nil, err
	}
	o.Size = control.Size(limits)

	books := &Books{Dir: d, Record: r, Backend: b.Backend}
	defer func() {
		if err != nil {
			books.Close()
			failpoint.Hit("instance/begin/refused")
			d.removeMembers(func(g uint64) bool { return g == b.Generation })
		}
	}()
	if err := liveness.Create(d.members(b.Generation)); err != nil {
		return nil, errkind.Classify(err)
	}
	failpoint.Hit("instance/begin/members")
	if books.Roll, err = liveness.Open(d.members(b.Generation)); err != nil {
		return nil, errkind.Classify(err)
	}
	if err := books.Roll.Prove(control.SupervisorRow); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(d.file("instance"), r); err != nil {
		return nil, errkind.Classify(err)
	}
	failpoint.Hit("instance/begin/recorded")
	if b.Reserved > 0 {
		if books.region, _, err = b.Backend.Create(ctx, r.regionObject(b.Reserved)); err != nil {
			return nil, fmt.Errorf("min_dynamic_shared_memory: a region of %d bytes: %w", b.Reserved, err)
		}
		defer func() {
			if err != nil {
				_ = b.Backend.Destroy(context.WithoutCancel(ctx), r.regionObject(0))
			}
		}()
		failpoint.Hit("instance/begin/reserved")
	}
	if books.mapping, o.Word, err = b.Backend.Create(ctx, o); err != nil {
		return nil, fmt.Errorf("control segment: %w", err)
	}
	defer func() {
		if err != nil {
			_ = b.Backend.Destroy(context.WithoutCancel(ctx), o)
		}
	}()
	failpoint.Hit("instance/begin/made")
	region, witness := shm.NewRegion(books.mapping.Bytes), books.Roll.Identity()
	if err := control.Format(region, control.Constants{
		Instance: b.Instance, Generation: b.Generation, Backend: b.Backend.Name(), Dir: d.Path,
		MembersDev: witness.Dev, MembersIno: witness.Ino, Limits: limits,
	}); err != nil {
		return nil, err
	}
	if books.Table, err = control.Open(region); err != nil {
		return nil, err
	}
	failpoint.Hit("instance/begin/formatted")
	return books.JoinSupervisor(ctx, b.Who, log)
}

// End closes the instance's life: nobody begins anything any more, every segment goes, at last the
// control segment. It waits up to timeout for those who are at work on a segment and, if sessions is set,
// for all to leave. The supervisor's member calls it; its mapping of the books is the caller's to close.
func (m *Member) End(ctx context.Context, timeout time.Duration, sessions bool) error {
	ctx = context.WithoutCancel(ctx)
	bounded, cancel := context.WithTimeout(ctx, max(timeout, time.Second)) // the lock's holder may be stopped
	defer cancel()
	err := m.Self.Close(bounded)
	failpoint.Hit("instance/end/closed")
	if err == nil {
		err = m.wind(ctx, timeout, sessions)
	}
	if err != nil {
		m.Log.Error().Err(Explain(err)).Msg("the instance can't be closed in order; it ends by force")
		m.force(ctx)
	}
	failpoint.Hit("instance/end/wound")
	return m.Record.removeBooks(ctx, m.Backend)
}

// wind waits, in a closing instance, until nobody is at work any more. What could not be removed
// is tried again, a few times: the sweep that follows finds it only where the backend can list.
func (m *Member) wind(ctx context.Context, timeout time.Duration, sessions bool) error {
	deadline := time.Now().Add(timeout)
	for retries := 0; ; time.Sleep(2 * time.Millisecond) {
		if _, err := m.ReclaimDead(ctx); err != nil {
			return err
		}
		if err := m.Settle(ctx); err != nil {
			return err
		}
		busy, err := m.busy(sessions)
		if err != nil {
			return err
		}
		if busy == "" {
			failed, _, err := m.Used()
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
			m.Log.Warn().Msgf("the instance ends though %s", busy)
			return nil
		}
	}
}

// force ends a life whose lock is not to be had, or whose books can't be trusted, as well as that goes:
// everybody is told, and every object that a row plainly names is removed. The sweep finds the rest.
func (m *Member) force(ctx context.Context) {
	_ = m.CloseByForce()
	failpoint.Hit("instance/end/forced")
	list, err := m.Segments()
	if err != nil {
		m.Log.Error().Err(err).Msg("the control segment can't be read")
	}
	for _, s := range list {
		if !s.Sound {
			continue
		}
		if err := m.Remove(ctx, s.Entry); err != nil {
			m.Log.Warn().Err(err).Str("object", m.Where(s.Entry)).Msg("could not remove a segment")
		}
	}
}

// busy says what a closing instance still waits for.
func (m *Member) busy(sessions bool) (what string, err error) {
	rows, err := m.Unfinished()
	if err != nil || rows > 0 {
		return fmt.Sprintf("%d segments are still being made or removed", rows), err
	}
	if living, err := m.Living(); sessions && (err != nil || living > 0) {
		return fmt.Sprintf("%d sessions have not left", living), err
	}
	return "", nil
}

// deserted lists the generations, but the present one, in which nobody lives any more.
func (d *Dir) deserted(present uint64) (list []uint64) {
	for _, g := range d.generations() {
		if g != present && d.nobodyIn(g) {
			list = append(list, g)
		}
	}
	return list
}

// OtherGenerations counts the generations besides the present one whose members files are there:
// somebody may live in them.
func (d *Dir) OtherGenerations(present uint64) (n int) {
	for _, g := range d.generations() {
		if g != present {
			n++
		}
	}
	return n
}

func (d *Dir) nobodyIn(generation uint64) bool {
	r, err := liveness.Open(d.members(generation))
	if err != nil {
		return refused(err) == nil
	}
	defer r.Close()
	n, err := held(r)
	return n == 0 && err == nil
}
