package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Last is what earlier lives left in a directory.
type Last struct {
	Dir        *Dir
	Instance   uuid.UUID
	Generation uint64    // the highest that has been; 0 if none
	Present    Verdict   // of the life that the directory names; its Record is zero if it names none
	Others     []Verdict // of the other lives that are listed
	backends   Backends
	log        zerolog.Logger
}

// DeathPatience is how long a process that was killed may look alive.
const DeathPatience = 200 * time.Millisecond

// Last judges the lives that the directory lists, and waits so long for processes that seem to live to be seen dead. The
// caller holds the directory's lock.
func (d *Dir) Last(ctx context.Context, backends Backends, patience time.Duration,
	log zerolog.Logger) (l *Last, err error) {
	l = &Last{Dir: d, backends: backends, log: log}
	if l.Instance, err = d.identityOf(log); err != nil && l.Instance == uuid.Nil {
		return nil, errkind.Classify(err)
	} else if err != nil {
		log.Warn().Err(err).Str("event", "id-unwritable").Msg("the file id can't be written")
	}
	s, err := d.readLifeList(log)
	if err != nil {
		return nil, errkind.Classify(err)
	}
	present := d.presentLife(s, log)
	for i, r := range s.Lives {
		l.Generation = max(l.Generation, r.Generation)
		wait := time.Duration(0)
		if i == present {
			wait = patience
		}
		v, err := d.judge(ctx, backends, r, wait)
		if err != nil {
			return nil, errkind.Classify(fmt.Errorf("what %s left can't be seen now: %w", r, err))
		}
		if i == present && v.Standing != Dead && v.Standing != Alive && v.Standing != Left && v.Standing != OtherVersion {
			log.Warn().Stringer("left", r).Str("event", "life-kept").Msg(v.Why)
		}
		if i == present {
			l.Present = v
		} else {
			l.Others = append(l.Others, v)
		}
	}
	if r, err := d.ReadRecord(); err == nil {
		l.Generation = max(l.Generation, r.Generation)
	}
	return l, nil
}

// presentLife returns which of the lives the file instance names or, if that is lost, the youngest; -1 if there is none.
func (d *Dir) presentLife(s lifeList, log zerolog.Logger) int {
	r, err := d.ReadRecord()
	if err == nil {
		return slices.IndexFunc(s.Lives, r.sameLife)
	}
	best := -1
	for i, x := range s.Lives {
		if x.Backend != "" && (best < 0 || x.Generation > s.Lives[best].Generation) {
			best = i
		}
	}
	if !errors.Is(err, errkind.NoInstance) || best >= 0 {
		log.Warn().Err(err).Str("event", "record-lost").Msg("the file instance can't be used; the file lives stands in for it")
	}
	return best
}

// Adopt makes this process the supervisor of the present life as it stands: dead sessions are reclaimed. Nothing is
// written into the directory.
func (l *Last) Adopt(ctx context.Context, who control.Who) (m *Member, err error) {
	books, err := l.open(ctx, l.Present.Record, dsmimpl.ReadWrite)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			books.Close()
		}
	}()
	if books.Table.Closing() {
		return nil, errkind.Stale
	}
	if m, err = books.JoinSupervisor(ctx, who, l.log); err != nil {
		return nil, err
	}
	failpoint.Hit("instance/adopt/joined")
	_, err = m.ReclaimDead(ctx)
	if err = errors.Join(err, m.Settle(ctx)); err != nil {
		return nil, errors.Join(err, m.Books.Roll.Drop(control.SupervisorRow))
	}
	m.Self.Say(control.Adopted)
	failpoint.Hit("instance/adopt/reclaimed")
	return m, nil
}

func (l *Last) open(ctx context.Context, r Record, access dsmimpl.Access) (*Books, error) {
	backend, err := l.Dir.backend(l.backends, r)
	if err != nil {
		return nil, err
	}
	return l.Dir.OpenBooks(ctx, r, backend, access)
}

// Clear removes what dead lives left, and says how many objects that were. Of the lives that are not dead nothing is
// touched: they stay listed. An error says what could not be removed.
func (l *Last) Clear(ctx context.Context, who control.Who) (removed int, err error) {
	ctx = context.WithoutCancel(ctx)
	for _, v := range append([]Verdict{l.Present}, l.Others...) {
		switch {
		case v.Record.Life == uuid.Nil:
		case v.Standing == Dead:
			n, e := l.removeDeadLife(ctx, v, who)
			removed, err = removed+n, errors.Join(err, e)
		case v.Standing == Elsewhere:
			removed += l.Dir.forgetLastCopies(ctx, l.backends, v.Record, l.log)
		}
	}
	return removed, errors.Join(err, l.forgetOldestUnseen())
}

// maxUnseen bounds the list where each start sees another memory, as that of a container which is killed and made anew.
const maxUnseen = 64

// forgetOldestUnseen strikes the oldest of the lives whose memory can't be seen, if there are too many.
func (l *Last) forgetOldestUnseen() (err error) {
	more := -maxUnseen
	for _, v := range l.Others {
		if v.Standing == Unseen {
			more++
		}
	}
	for _, v := range l.Others {
		if v.Standing == Unseen && more > 0 {
			more--
			err = errors.Join(err, l.Dir.removeLife(v.Record, l.log))
		}
	}
	return err
}

// removeDeadLife removes what a dead life left: what its control segment lists, then all that bears it.
func (l *Last) removeDeadLife(ctx context.Context, v Verdict, who control.Who) (removed int, err error) {
	r := v.Record
	if v.scattered {
		return l.Dir.sweepDeadLife(ctx, l.backends, r, l.Dir.notInUse(ctx, r), l.log)
	}
	if n, err := l.end(ctx, r, who, 0); err == nil {
		removed = n
	} else {
		l.log.Warn().Err(err).Str("event", "last-life-unclosed").Msg("the last life's control segment can't be closed in order")
		if b, err := l.Dir.backend(l.backends, r); err == nil {
			if _, ok := b.(dsmimpl.Lister); !ok { // else the sweep finds and counts them
				_ = r.removeBooks(ctx, b)
			}
		}
	}
	n, err := l.Dir.sweepDeadLife(ctx, l.backends, r, nil, l.log)
	return removed + n, err
}

// End ends the present life under its living sessions, which are fenced: everything goes that its control segment lists
// or that bears it.
func (l *Last) End(ctx context.Context, who control.Who, timeout time.Duration) (removed int, err error) {
	ctx = context.WithoutCancel(ctx)
	r := l.Present.Record
	removed, err = l.end(ctx, r, who, timeout)
	n, left := l.Dir.sweep(ctx, l.backends, r, nil, l.log)
	if err == nil && left > 0 {
		err = errLeft
	}
	return removed + n, err
}

// end closes a life in order, and says how many objects that removed.
func (l *Last) end(ctx context.Context, r Record, who control.Who, timeout time.Duration) (removed int, err error) {
	if err := l.Dir.errOtherVersion(r); err != nil {
		return 0, err
	}
	books, err := l.open(ctx, r, dsmimpl.ReadWrite)
	if err != nil {
		return 0, err
	}
	defer books.Close()
	rows, _, err := books.Table.Used()
	if err != nil {
		return 0, err
	}
	m, err := books.JoinSupervisor(ctx, who, l.log)
	if err != nil {
		return 0, err
	}
	if rows > 0 {
		l.log.Info().Int("segments", rows).Str("event", "last-life-removed").Msg("removing what the last life left")
	}
	if err := m.End(ctx, timeout, false); err != nil {
		return 0, errors.Join(err, m.Books.Roll.Drop(control.SupervisorRow))
	}
	failpoint.Hit("instance/remove/ended")
	removed = rows + 1 // the control segment
	if books.Table.Limits.Reserved > 0 {
		removed++
	}
	return removed, m.Books.Roll.Drop(control.SupervisorRow)
}

// forgetLastCopies removes, of a life whose processes are not of this directory, what was copied with it: the members file,
// and files of the type mmap that no process has open.
func (d *Dir) forgetLastCopies(ctx context.Context, b Backends, r Record, log zerolog.Logger) (removed int) {
	if backend, err := d.backend(b, Record{Backend: "mmap", MmapDirectory: "mmap"}); err == nil && !r.recordIsInOwnDirectory() {
		if l, ok := backend.(dsmimpl.Lister); ok {
			objects, _ := l.List(ctx, r.Life, r.Generation)
			for _, o := range objects {
				x := leftover{backend, o}
				if d.notInUse(ctx, Record{Backend: "mmap", MmapDirectory: "mmap"})(x) && backend.Destroy(ctx, o) == nil {
					removed++
				}
			}
		}
	}
	if removed > 0 {
		log.Info().Int("files", removed).Str("event", "copies-removed").Msg("removed copies of another directory's files")
	}
	failpoint.Hit("instance/forget/files")
	d.removeMembers(r)
	return removed
}

// Refuse returns the error for a caller that wants the directory for itself while the present life's processes live;
// nil if they do not.
func (l *Last) Refuse() error {
	v := l.Present
	switch v.Standing {
	case Alive:
		return errkind.As(errkind.InUse,
			fmt.Errorf("%d sessions live in %s: a new supervisor would adopt them", v.Sessions, l.Dir.Path))
	case Left:
		return errkind.As(errkind.InUse, fmt.Errorf("%s: %s: start one there, which adopts what is pinned, or remove it by force",
			l.Dir.Path, v.Why))
	case Bereft, Garbled:
		return errkind.As(errkind.InUse, fmt.Errorf("%d sessions live in %s, though %s: a new supervisor would begin a "+
			"new life, and remove what they hold when they have ended", v.Sessions, l.Dir.Path, v.Why))
	case OtherMemory:
		return errkind.As(errkind.InUse, fmt.Errorf("%d sessions live in %s, and %s; stop them, or work where they run",
			v.Sessions, l.Dir.Path, v.Why))
	case OtherVersion:
		return l.Dir.errOtherVersion(v.Record)
	}
	return nil
}
