//go:build linux

package supervisor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"golang.org/x/sys/unix"
)

// cleaned is an instance with two sessions and a pinned segment that no session has attached, whose members file a
// cleaner removes.
type cleaned struct {
	env
	sup, a, b *proctest.Process
	pinned    string
}

func newCleaned(t *testing.T, pairs ...string) cleaned {
	t.Helper()
	c := cleaned{env: newEnv(t)}
	c.sup, _ = c.supervise(pairs...)
	c.a, c.b = c.session(), c.session()
	c.create(c.a, 5000, 3)
	c.create(c.b, 100, 3)
	p := c.session()
	c.pinned = c.create(p, 100, 1)
	p.Send("pin %s", c.pinned)
	p.Expect("pinned")
	p.Send("close")
	p.Expect("closed")
	_ = p.Wait()
	return c
}

func (c cleaned) remove() {
	c.t.Helper()
	if err := os.Remove(members(c.t, c.dir)); err != nil {
		c.t.Fatal(err)
	}
}

// joinable waits until a newcomer can join, and sees that all is as it was.
func (c cleaned) joinable() {
	c.t.Helper()
	instancetest.Eventually(c.t, "newcomers can join", func() bool {
		s, err := dsm.Open(ctx, dsm.Config{Dir: c.dir})
		if err == nil {
			noErr(c.t, s.Close())
		}
		return err == nil
	})
	if r := c.report(); r.Status.Generation != 1 {
		c.t.Errorf("generation %d: a new one has begun", r.Status.Generation)
	}
	p := c.session()
	p.Send("attach %s", c.pinned)
	p.Expect("attached")
	noErr(c.t, p.Close())
}

// reclaimed waits until the books list so many sessions and segments, and the system has as many.
func (c cleaned) reclaimed(sessions, segments int) {
	c.t.Helper()
	instancetest.Eventually(c.t, fmt.Sprintf("%d sessions and %d segments are left", sessions, segments), func() bool {
		r := c.report()
		return len(r.Sessions) == sessions && len(r.Segments) == segments && c.objects() == segments
	})
}

// TestMembersFileRemovedUnderSessions: sessions and pins stay, newcomers can join, and the dead are reclaimed, as
// often as a cleaner comes; after a supervisor's death the next one adopts them.
func TestMembersFileRemovedUnderSessions(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		t.Parallel()
		c := newCleaned(t, "dynamic_shared_memory_type", backend)
		for range 2 {
			c.remove()
			c.joinable()
		}
		check(c.a)
		check(c.b)
		d := c.session()
		c.create(d, 100, 5)
		c.reclaimed(3, 12)
		c.b.Kill()
		c.reclaimed(2, 9)
		d.Kill()
		c.reclaimed(1, 4)
		c.sup.Kill()
		_, generation := c.supervise("dynamic_shared_memory_type", backend)
		if generation != "1" {
			t.Errorf("generation %s: it was not adopted", generation)
		}
		check(c.a)
		c.joinable()
		c.remove()
		c.joinable()
		c.a.Kill()
		c.reclaimed(0, 1)
	})
}

// TestAllSmallFilesRemovedUnderSessions: a cleaner takes all that lies in the directory.
func TestAllSmallFilesRemovedUnderSessions(t *testing.T) {
	c := newCleaned(t, "dynamic_shared_memory_type", "posix")
	names, err := os.ReadDir(c.dir)
	for _, e := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(c.dir, e.Name())))
	}
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	c.joinable()
	check(c.a)
	c.b.Kill()
	c.reclaimed(1, 4)
}

// TestMembersFileRemovedUnderAStoppedSession: one that can't hear of the new members file is waited for, and no
// session joins until then: newcomers would take it for dead. It goes on, or is killed; the others and pins stay in
// any case.
func TestMembersFileRemovedUnderAStoppedSession(t *testing.T) {
	for _, end := range []unix.Signal{unix.SIGCONT, unix.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			c := newCleaned(t)
			noErr(t, c.b.Stop())
			old := members(t, c.dir)
			before, err := os.Stat(old)
			if err != nil {
				t.Fatal(err)
			}
			c.remove()
			instancetest.Eventually(t, "another members file is there", func() bool {
				now, err := os.Stat(old)
				return err == nil && !os.SameFile(before, now)
			})
			if s, err := dsm.Open(ctx, dsm.Config{Dir: c.dir}); err == nil {
				_ = s.Close()
				t.Error("a session joined while another one can't see its witness")
			} else if !errors.Is(err, dsm.ErrCorrupt) {
				t.Error(err)
			}
			check(c.a)
			noErr(t, c.b.Cmd.Process.Signal(end))
			c.joinable()
			check(c.a)
			if end == unix.SIGCONT {
				check(c.b)
				c.b.Kill()
			}
			c.reclaimed(1, 4)
		})
	}
}

// TestMembersFileRemovedWithoutASupervisor: the sessions write another one, and the next supervisor adopts them.
func TestMembersFileRemovedWithoutASupervisor(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		t.Parallel()
		c := newCleaned(t, "dynamic_shared_memory_type", backend)
		c.sup.Kill()
		c.remove()
		if _, generation := c.supervise("dynamic_shared_memory_type", backend); generation != "1" {
			t.Errorf("generation %s: it was not adopted", generation)
		}
		check(c.a)
		check(c.b)
		c.joinable()
		c.b.Kill()
		c.reclaimed(1, 4)
	})
}
