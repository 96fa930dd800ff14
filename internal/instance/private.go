package instance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/rs/zerolog"
)

// Private instances live under one directory per user, so that the next process of the user finds what dead processes
// left.

// privateParent returns that directory, made if missing. The parent's lock is held while one is made or looked for.
func privateParent() (d *Dir, err error) {
	for _, path := range privateParents() {
		if d, err = MakeDir(path); err == nil {
			return d, nil
		}
	}
	return nil, err
}

// privateParents returns the paths for it, the second for a user without a home, or with one that we can't use.
func privateParents() (paths []string) {
	if state, err := stateHome(); err == nil {
		paths = append(paths, filepath.Join(state, "dsm-private"))
	}
	return append(paths, filepath.Join(os.TempDir(), fmt.Sprintf("dsm-private-%d", os.Geteuid())))
}

// PrivateDirs returns the directories of this user's private instances, living and dead. The caller closes them.
func PrivateDirs() (list []*Dir) {
	for _, parent := range privateParents() {
		entries, _ := os.ReadDir(parent)
		for _, e := range entries {
			if d, err := OpenDir(filepath.Join(parent, e.Name())); err == nil { // the caller's to close
				list = append(list, d)
			}
		}
	}
	return list
}

// MakePrivate makes a directory for a private instance and locks it; unlock it when it has been removed.
func MakePrivate(who Holder) (d *Dir, unlock func(), err error) {
	parent, err := privateParent()
	if err != nil {
		return nil, nil, err
	}
	unlockParent, err := parent.lockPrivateForMoment()
	if err != nil {
		return nil, nil, err
	}
	defer unlockParent()
	defer parent.Close()
	path, err := os.MkdirTemp(parent.Path, "")
	if err == nil {
		err = os.Chmod(path, 0o700) // whatever the umask is
	}
	if err != nil {
		return nil, nil, err
	}
	failpoint.Hit("instance/private/made")
	if d, err = OpenDir(path); err == nil {
		unlock, err = d.Lock(who)
	}
	if err != nil {
		_ = os.Remove(path)
		if d != nil {
			d.Close()
		}
	}
	return d, unlock, err
}

// lockPrivateForMoment waits, up to ten seconds, for a lock that no process holds for long.
func (d *Dir) lockPrivateForMoment() (unlock func(), err error) {
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

// CleanPrivate removes the private instances of this user that have no supervisor and no living session, and returns
// how many segments they had. One that is looked at is locked, so no look lasts: where a session seems to live there is
// another look a little later.
func CleanPrivate(ctx context.Context, backends Backends, who control.Who, log zerolog.Logger) (found int) {
	parent, err := privateParent()
	if err != nil {
		return 0
	}
	defer parent.Close()
	for _, pause := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond} {
		time.Sleep(pause)
		list, left := parent.abandonedPrivate()
		for _, c := range list {
			n, gone := c.dir.RemovePrivate(ctx, backends, who, 0, log, c.unlock)
			if found += n; !gone {
				left++
				c.dir.Close()
			}
		}
		if left == 0 {
			break
		}
	}
	return found
}

type lockedDir struct {
	dir    *Dir
	unlock func()
}

// abandonedPrivate locks the directories that are not locked and in which no session lives, and counts those in which
// one does: these are not kept locked while others are removed, for their next supervisor would find a holder. One
// that has just been made is locked before the parent's lock is free.
func (d *Dir) abandonedPrivate() (list []lockedDir, inhabited int) {
	unlockParent, err := d.lockPrivateForMoment()
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
			c.Close()
		case c.privateIsInhabited():
			unlock()
			c.Close()
			inhabited++
		default:
			list = append(list, lockedDir{c, unlock})
		}
	}
	return list, inhabited
}

// privateIsInhabited reports whether a session lives in the generation that the directory names.
func (d *Dir) privateIsInhabited() bool {
	r, err := d.ReadRecord()
	return err == nil && !d.noSessionIsLiving(r)
}

// RemovePrivate ends a private instance whose supervisor is dead and removes its directory,
// unless a session lives. It says how many segments it found, and whether all is gone. The caller
// holds the directory's lock, which is unlocked in any case.
func (d *Dir) RemovePrivate(ctx context.Context, backends Backends, who control.Who, patience time.Duration,
	log zerolog.Logger, unlock func()) (found int, gone bool) {
	found, gone = d.endPrivate(ctx, backends, who, patience, log)
	if !gone {
		unlock()
		return found, false
	}
	gone = d.Remove(unlock) == nil
	d.Close()
	return found, gone
}

func (d *Dir) endPrivate(ctx context.Context, backends Backends, who control.Who, patience time.Duration,
	log zerolog.Logger) (found int, gone bool) {
	l, err := d.Last(ctx, backends, patience, log)
	if err != nil {
		log.Warn().Err(err).Str("dir", d.Path).Str("event", "private-uncleaned").Msg("could not clean a private instance")
		return 0, false
	}
	for _, v := range append(l.Others, l.Present) {
		if v.Standing != Dead {
			return 0, false // the directory is how the next look finds it
		}
	}
	if found, err = l.Clear(ctx, who); err != nil {
		return found, false
	}
	failpoint.Hit("instance/private/ended")
	return found, true
}
