package instance

import (
	"context"
	"errors"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/rs/zerolog"
)

// Clean removes what dead lives left in a directory, and what dead private instances of this user left, and says how
// many objects that were. A living instance is ErrInUse.
func Clean(ctx context.Context, path string, backends Backends, who control.Who,
	log zerolog.Logger) (removed int, err error) {
	removed = CleanPrivate(ctx, backends, who, log)
	n, err := cleanWithLast(ctx, path, backends, who, log, func(l *Last) (int, error) {
		if err := l.Refuse(); err != nil {
			return 0, err
		}
		return l.Clear(ctx, who)
	})
	return removed + n, err
}

// cleanWithLast runs f over what is left in a directory, which it locks for that.
func cleanWithLast(ctx context.Context, path string, backends Backends, who control.Who, log zerolog.Logger,
	f func(l *Last) (int, error)) (removed int, err error) {
	d, err := OpenDir(path)
	if errors.Is(err, errkind.NoInstance) {
		return 0, nil // nothing has ever been here
	}
	if err != nil {
		return 0, err
	}
	defer d.Close()
	unlock, err := d.Lock(HolderOf(who))
	if err != nil {
		return 0, err
	}
	defer unlock()
	l, err := d.Last(ctx, backends, DeathPatience, log)
	if err != nil {
		return 0, err
	}
	return f(l)
}

// Doom is what CleanByForce is about to destroy.
type Doom struct {
	What    string   // which life, and how it stands
	Objects []string // in the system
}

// CleanByForce removes all that bears a life that the directory lists, also what is in use: sessions that live are
// fenced and keep the bytes that they have mapped, and others find nothing any more. A person decides that: tell is
// called with all that goes before anything does. A running supervisor is ErrInUse.
func CleanByForce(ctx context.Context, path string, backends Backends, who control.Who, log zerolog.Logger,
	tell func([]Doom)) (removed int, err error) {
	return cleanWithLast(ctx, path, backends, who, log, func(l *Last) (int, error) {
		list := append(l.Others, l.Present)
		if l.Present.Record.Life == [16]byte{} {
			list = l.Others
		}
		var dooms []Doom
		for _, v := range list {
			doom := Doom{What: v.String()}
			for _, x := range l.Dir.leftovers(ctx, backends, v.Record, log) {
				doom.Objects = append(doom.Objects, x.where())
			}
			dooms = append(dooms, doom)
		}
		tell(dooms)
		for _, v := range list {
			n := 0
			if v.Standing == Alive || v.Standing == Left {
				n, _ = l.end(ctx, v.Record, who, 0) // what can't be closed in order is swept
			}
			swept, left := l.Dir.sweep(ctx, backends, v.Record, nil, log)
			if removed += n + swept; left > 0 {
				err = errors.Join(err, errLeft)
				continue
			}
			if l.Dir.noSessionIsLiving(v.Record) {
				l.Dir.removeMembers(v.Record)
				err = errors.Join(err, l.Dir.TakeOver())
				err = errors.Join(err, l.Dir.removeLife(v.Record, log))
			}
		}
		return removed, err
	})
}
