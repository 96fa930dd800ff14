package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/atomicfile"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/liveness"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

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
func (d *Dir) Last(ctx context.Context, backends Backends, patience time.Duration,
	log zerolog.Logger) (l *Last, err error) {
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

// open maps the last life's books, if they can be trusted. An error says that the system refused
// to, and nothing of the books.
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
		l.log.Error().Err(err).
			Msg("the last life's backend is not known to this program; what it left can't be removed")
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

// Adopt makes this process the supervisor of the last life as it stands: the dead are reclaimed,
// the record names the new supervisor. The books are the member's then.
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

// Remove ends the last life: its books are closed, living sessions fenced, and everything is swept that
// can be shown to be this instance's. It says how many segments it found, and what could not be removed.
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
	swept, err := l.Dir.Sweep(ctx, Sweeping{Instance: l.Instance, Backends: l.backends,
		MmapDirectory: l.Record.MmapDirectory, Log: l.log})
	return found + swept, err
}

// Clean removes what a dead instance left in a directory, and what dead private ones of this user
// left, and says how many segments that were. A living one is ErrInUse.
func Clean(ctx context.Context, path string, backends Backends, who control.Who,
	log zerolog.Logger) (found int, err error) {
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
		return found, errkind.As(errkind.InUse,
			fmt.Errorf("%d sessions live in %s: a new supervisor would adopt them", l.Alive, d.Path))
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
