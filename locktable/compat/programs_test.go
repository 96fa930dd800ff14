//go:build linux

package compat_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	oldlock "github.com/containers/storage/pkg/lockfile"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/locktable/compat"
	newlock "go.podman.io/storage/pkg/lockfile"
)

// This file has the programs that the tests start: one on the older library, and one on this.

// lockFile is what both generations of package lockfile have.
type lockFile interface {
	Lock()
	RLock()
	Unlock()
	TryLock() error
}

var generations = []string{"containers/storage", "go.podman.io/storage"}

// openOld opens a lock file by the package of a generation; modified reports whether another one has written since it was
// last asked, and write writes.
func openOld(generation, path string) (l lockFile, modified func() (bool, error), write func() error, err error) {
	if generation == generations[0] {
		l, err := oldlock.GetLockFile(path)
		if err != nil {
			return nil, nil, nil, err
		}
		var last oldlock.LastWrite
		first := true
		return l, func() (yes bool, err error) {
			if first {
				first = false
				last, err = l.GetLastWrite()
				return true, err
			}
			last, yes, err = l.ModifiedSince(last)
			return yes, err
		}, func() (err error) { last, err = l.RecordWrite(); return err }, nil
	}
	n, err := newlock.GetLockFile(path)
	if err != nil {
		return nil, nil, nil, err
	}
	var last newlock.LastWrite
	first := true
	return n, func() (yes bool, err error) {
		if first {
			first = false
			last, err = n.GetLastWrite()
			return true, err
		}
		last, yes, err = n.ModifiedSince(last)
		return yes, err
	}, func() (err error) { last, err = n.RecordWrite(); return err }, nil
}

// older is a program on the older library: GENERATION PATH. It does what it hears, and says how that went.
func older(c *proctest.Child) error {
	l, modified, write, err := openOld(c.Args[0], c.Args[1])
	if err != nil {
		return err
	}
	for c.Say("ready"); ; {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		switch line {
		case "lock":
			l.Lock()
			c.Say("in")
		case "rlock":
			l.RLock()
			c.Say("in")
		case "unlock":
			l.Unlock()
			c.Say("out")
		case "try":
			if err := l.TryLock(); err != nil {
				c.Say("busy")
			} else {
				l.Unlock()
				c.Say("free")
			}
		case "modified":
			yes, err := modified()
			c.Say("%v %v", yes, err)
		case "write":
			c.Say("wrote %v", write())
		}
	}
}

// newer is a program on a table: DIR PATH. It does what it hears.
func newer(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Application: "newer"})
	if err != nil {
		return err
	}
	defer s.Close()
	_, store, err := openStore(s, c.Args[1], compat.Options{})
	if err != nil {
		return err
	}
	var hold compat.Hold
	for c.Say("ready"); ; {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		switch f := strings.Fields(line); f[0] {
		case "lock":
			if hold, err = store.Lock(ctx, locktable.Exclusive, "layers", f[1]); err != nil {
				return err
			}
			c.Say("in")
		case "unlock":
			if err := hold.Unlock(); err != nil {
				return err
			}
			c.Say("out")
		case "busy": // one hold after another, each begun before the last one ends, until the input ends
			done := make(chan error)
			for i := range 3 {
				go func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					for {
						h, err := store.Lock(ctx, locktable.Exclusive, "layers", fmt.Sprint(os.Getpid(), i))
						if err == nil {
							time.Sleep(5 * time.Millisecond)
							err = h.Unlock()
						}
						if err != nil {
							done <- err
							return
						}
					}
				}()
			}
			c.Say("busy")
			go func() { c.Hear(); done <- nil }()
			return <-done
		case "fight": // ROUNDS
			return fight(c, store, c.Args[1])
		}
	}
}

// fight locks a few names again and again, and ensures that no other process is in with one of them.
func fight(c *proctest.Child, store *compat.Store, path string) error {
	c.Say("fighting")
	for i := 0; ; i++ {
		name := fmt.Sprint((i + os.Getpid()) % 3)
		h, err := store.Lock(ctx, locktable.Exclusive, "layers", name)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path+".in"+name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return fmt.Errorf("two are in with %s: %w", name, err)
		}
		time.Sleep(200 * time.Microsecond)
		_ = f.Close()
		if err := h.Unlock(); err != nil {
			return err
		}
		c.Say("round")
	}
}

func openStore(s *dsm.Session, path string, o compat.Options) (*locktable.Table, *compat.Store, error) {
	x, err := locktable.Open(ctx, s, "storage", locktable.Options{})
	if err != nil {
		return nil, nil, err
	}
	store, err := compat.Open(ctx, x, path, o)
	return x, store, err
}
