package instance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/rs/zerolog"
)

// Private instances live under one directory per user, so that whoever comes next can find what dead ones left.

// privateParent is that directory, made if missing. The parent's lock is held while one is made or looked for.
func privateParent() (*Dir, error) {
	if state, err := stateHome(); err == nil {
		if d, err := MakeDir(filepath.Join(state, "dsm-private")); err == nil {
			return d, nil
		}
	}
	return MakeDir(filepath.Join(os.TempDir(), fmt.Sprintf("dsm-private-%d", os.Geteuid()))) // no home, or one that we can't use
}

// MakePrivate makes a directory for a private instance and locks it; unlock it when it has been removed.
func MakePrivate(who Holder) (d *Dir, unlock func(), err error) {
	parent, err := privateParent()
	if err != nil {
		return nil, nil, err
	}
	unlockParent, err := parent.lockForMoment()
	if err != nil {
		return nil, nil, err
	}
	defer unlockParent()
	path, err := os.MkdirTemp(parent.Path, "")
	if err != nil {
		return nil, nil, err
	}
	if d, err = OpenDir(path); err == nil {
		unlock, err = d.Lock(who)
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return d, unlock, err
}

// lockForMoment waits for a lock that nobody holds for long.
func (d *Dir) lockForMoment() (unlock func(), err error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		unlock, held, err := d.tryLock()
		if err != nil || !held {
			return unlock, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%s stays locked", d.Path)
		}
	}
}

// CleanPrivate removes the private instances of this user that have no supervisor and no living session. One that is
// looked at is locked, so no look lasts: where somebody seems to live there is another look a little later.
func CleanPrivate(ctx context.Context, backends Backends, who control.Who, log zerolog.Logger) {
	parent, err := privateParent()
	if err != nil {
		return
	}
	for _, pause := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond} {
		time.Sleep(pause)
		list, left := parent.abandoned()
		for _, c := range list {
			if !c.dir.RemovePrivate(ctx, backends, who, 0, log) {
				left++
			}
			c.unlock()
		}
		if left == 0 {
			return
		}
	}
}

type locked struct {
	dir    *Dir
	unlock func()
}

// abandoned locks the directories that nobody has locked and nobody lives in, and counts those that somebody lives in: these
// are not kept locked while others are removed, for their next supervisor would find a holder. One that has just been made is
// locked before the parent's lock is free.
func (d *Dir) abandoned() (list []locked, inhabited int) {
	unlockParent, err := d.lockForMoment()
	if err != nil {
		return nil, 0
	}
	defer unlockParent()
	entries, _ := os.ReadDir(d.Path)
	for _, e := range entries {
		c, err := OpenDir(filepath.Join(d.Path, e.Name()))
		if err != nil {
			continue
		}
		switch unlock, held, err := c.tryLock(); {
		case err != nil || held:
		case c.inhabited():
			unlock()
			inhabited++
		default:
			list = append(list, locked{c, unlock})
		}
	}
	return list, inhabited
}

// inhabited says whether somebody lives in the generation that the directory names.
func (d *Dir) inhabited() bool {
	r, err := d.ReadRecord()
	return err == nil && !d.nobodyIn(r.Generation)
}

// RemovePrivate ends a private instance whose supervisor is dead and removes its directory, unless a session lives. The
// caller holds the directory's lock.
func (d *Dir) RemovePrivate(ctx context.Context, backends Backends, who control.Who, patience time.Duration, log zerolog.Logger) bool {
	l, err := d.Last(ctx, backends, patience, log)
	if err != nil {
		log.Warn().Err(err).Str("dir", d.Path).Msg("could not clean a private instance")
		return false
	}
	defer l.Close()
	if l.Alive > 0 {
		return false
	}
	l.Remove(ctx, who, 0)
	return os.RemoveAll(d.Path) == nil
}
