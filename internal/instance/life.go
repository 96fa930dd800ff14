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

// Begin starts a new generation: members file, record, reserved region, control segment, supervisor's row, in this order, so that whatever was made when
// it ends early is found by the next start. The caller holds the directory's lock.
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
		Instance: b.Instance, Generation: b.Generation, Backend: b.Backend.Name(), MmapDirectory: b.Settings.MmapDirectory,
		Private: b.Private, Settings: lasting(b.Settings), SupervisorPid: b.Who.Pid, Boot: boot, Dir: d.id,
	}
	o := r.controlObject()
	if l, ok := b.Backend.(dsmimpl.Locator); ok {
		r.Control = l.Locate(o)
	}
	limits := control.Limits{
		Processes: b.Settings.MaxProcesses, Segments: b.Settings.MaxSegments, SegmentsPerProcess: b.Settings.MaxSegmentsPerProcess,
		Memory: b.Settings.MaxMemory, MemoryPerProcess: b.Settings.MaxMemoryPerProcess, Reserved: b.Reserved,
	}
	if err := limits.Check(); err != nil {
		return nil, err
	}
	o.Size = control.Size(limits)

	books := &Books{Dir: d, Record: r, Backend: b.Backend}
	defer func() {
		if err != nil {
			books.Close()
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

// End closes the instance's life: nobody begins anything any more, every segment goes, at last the control segment. It waits up
// to timeout for those who are at work on a segment and, if sessions is set, for all to leave. The supervisor's
// member calls it; its mapping of the books is the caller's to close.
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

// wind waits, in a closing instance, until nobody is at work any more. What could not be removed is tried again, a few times: the sweep
// that follows finds it only where the backend can list.
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

// force ends a life whose lock is not to be had, or whose books can't be trusted, as well as that goes: everybody is told, and
// every object that a row plainly names is removed. The sweep finds the rest.
func (m *Member) force(ctx context.Context) {
	_ = m.CloseByForce()
	list, err := m.Segments()
	if err != nil {
		m.Log.Error().Err(err).Msg("the control segment can't be read")
	}
	for _, s := range list {
		if !s.Sound {
			continue
		}
		if err := m.remove(ctx, s.Entry); err != nil {
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

// Last is what the last life left in a directory.
type Last struct {
	Dir        *Dir
	Instance   uuid.UUID
	Generation uint64 // the highest that has been; 0 if none
	Record     Record // zero if there is none to be trusted
	Books      *Books // nil if there are none to be trusted
	Alive      int    // sessions
	backends   Backends
	log        zerolog.Logger
}

// DeathPatience is how long a process that was killed may look alive.
const DeathPatience = 200 * time.Millisecond

// Last looks at what is left of the last life, and waits so long for processes that seem to live to be seen dead. The
// caller holds the directory's lock.
func (d *Dir) Last(ctx context.Context, backends Backends, patience time.Duration, log zerolog.Logger) (l *Last, err error) {
	l = &Last{Dir: d, backends: backends, log: log}
	if l.Instance, err = d.identify(log); err != nil {
		return nil, errkind.Classify(err)
	}
	for _, g := range d.generations() {
		l.Generation = max(l.Generation, g)
	}
	switch r, err := d.ReadRecord(); {
	case err == nil && r.Instance == l.Instance:
		l.Record, l.Generation = r, max(r.Generation, l.Generation)
	case errors.Is(err, errkind.NoInstance):
	case refused(err) != nil:
		return nil, err
	default:
		log.Warn().Err(err).Msg("the file instance can't be used; leftovers are looked for by name")
	}
	var hidden error
	if l.Record.Generation != 0 {
		l.Books, hidden = l.open(ctx)
	}
	if l.Alive, err = l.wait(ctx, patience); err == nil && l.Alive > 0 && hidden != nil {
		err = fmt.Errorf("%d sessions live, and what they hold can't be seen now: %w", l.Alive, hidden)
	}
	if err != nil {
		l.Close()
		return nil, errkind.Classify(err)
	}
	return l, nil
}

// open maps the last life's books, if they can be trusted. An error says that the system refused to, and nothing of the books.
func (l *Last) open(ctx context.Context) (*Books, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if l.Record.Boot != boot {
		l.log.Info().Msg("the machine has been started again since the last life; its control segment is not trusted")
		return nil, nil
	}
	backend, err := l.backends.Of(l.Record.Backend, l.Record.MmapDirectory)
	if err != nil {
		l.log.Error().Err(err).Msg("the last life's backend is not known to this program; what it left can't be removed")
		return nil, nil
	}
	books, err := l.Dir.OpenBooks(ctx, l.Record, backend, dsmimpl.ReadWrite)
	switch {
	case err == nil:
		return books, nil
	case errors.Is(err, errkind.NotFound):
		if len(l.Dir.generations()) > 0 { // a stopped instance leaves none
			l.log.Warn().Err(err).Msg("the last life's control segment is missing")
		}
	default:
		l.log.Warn().Err(err).Msg("the last life's control segment can't be trusted")
	}
	return nil, refused(err)
}

// wait counts the sessions that live, for as long as a killed process may look alive.
func (l *Last) wait(ctx context.Context, patience time.Duration) (living int, err error) {
	roll := (*liveness.Roll)(nil)
	if l.Books != nil {
		roll = l.Books.Roll
	} else if l.Generation > 0 {
		r, err := liveness.Open(l.Dir.members(l.Generation))
		if err != nil {
			return 0, refused(err)
		}
		defer r.Close()
		roll = r
	}
	if roll == nil {
		return 0, nil
	}
	pause, end := 2*time.Millisecond, time.Now().Add(patience)
	for {
		living, err = held(roll)
		if err != nil || living == 0 || time.Now().After(end) || ctx.Err() != nil {
			return living, err
		}
		time.Sleep(pause)
		pause = min(2*pause, 30*time.Millisecond)
	}
}

func held(r *liveness.Roll) (int, error) { return r.Count(control.MaxProcesses + 1) }

// Close lets go of the books without changing anything.
func (l *Last) Close() {
	if l.Books != nil {
		l.Books.Close()
		l.Books = nil
	}
}

// Adopt makes this process the supervisor of the last life as it stands: the dead are reclaimed, the record names the new supervisor. The
// books are the member's then.
func (l *Last) Adopt(ctx context.Context, who control.Who) (*Member, error) {
	m, err := l.Books.JoinSupervisor(ctx, who, l.log)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("instance/adopt/joined")
	r := l.Record
	r.SupervisorPid = who.Pid
	_, err = m.ReclaimDead(ctx)
	if err = errors.Join(err, m.Settle(ctx), atomicfile.Write(l.Dir.file("instance"), r)); err != nil {
		return nil, errors.Join(err, m.Roll.Drop(control.SupervisorRow))
	}
	failpoint.Hit("instance/adopt/recorded")
	l.Books = nil
	m.Record = r
	return m, nil
}

// Remove ends the last life: its books are closed, living sessions fenced, and everything is swept that can be shown to be
// this instance's. It says how many segments it found, and what could not be removed.
func (l *Last) Remove(ctx context.Context, who control.Who, timeout time.Duration) (found int, err error) {
	ctx = context.WithoutCancel(ctx)
	if l.Books != nil {
		if rows, _, err := l.Books.Used(); err == nil {
			found = rows
		}
		if err := l.end(ctx, who, timeout); err != nil {
			l.log.Warn().Err(err).Msg("the last life's control segment can't be closed in order")
			_ = l.Record.removeBooks(ctx, l.Books.Backend)
		}
		l.Close()
	} else if l.Record.Generation != 0 { // the sweep finds it only where the backend can list
		if b, err := l.backends.Of(l.Record.Backend, l.Record.MmapDirectory); err == nil {
			_ = l.Record.removeBooks(ctx, b)
		}
	}
	swept, err := l.Dir.Sweep(ctx, Sweeping{Instance: l.Instance, Backends: l.backends, MmapDirectory: l.Record.MmapDirectory, Log: l.log})
	return found + swept, err
}

// Clean removes what a dead instance left in a directory, and what dead private ones of this user left, and says how many segments
// that were. A living one is ErrInUse.
func Clean(ctx context.Context, path string, backends Backends, who control.Who, log zerolog.Logger) (found int, err error) {
	found = CleanPrivate(ctx, backends, who, log)
	d, err := OpenDir(path)
	if errors.Is(err, errkind.NoInstance) {
		return found, nil // nothing has ever been here
	}
	if err != nil {
		return found, err
	}
	unlock, err := d.Lock(HolderOf(who))
	if err != nil {
		return found, err
	}
	defer unlock()
	l, err := d.Last(ctx, backends, DeathPatience, log)
	if err != nil {
		return found, err
	}
	defer l.Close()
	if l.Alive > 0 {
		return found, errkind.As(errkind.InUse, fmt.Errorf("%d sessions live in %s: a new supervisor would adopt them", l.Alive, d.Path))
	}
	n, err := l.Remove(ctx, who, 0)
	return found + n, err
}

func (l *Last) end(ctx context.Context, who control.Who, timeout time.Duration) error {
	m, err := l.Books.JoinSupervisor(ctx, who, l.log)
	if err != nil {
		return err
	}
	if rows, _, err := m.Used(); err == nil && rows > 0 {
		l.log.Info().Int("segments", rows).Msg("removing what the last life left")
	}
	if err := m.End(ctx, timeout, false); err != nil {
		return err
	}
	failpoint.Hit("instance/remove/ended")
	return m.Roll.Drop(control.SupervisorRow)
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

// OtherGenerations counts the generations besides the present one whose members files are there: somebody may live in them.
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
