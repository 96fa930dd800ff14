//go:build linux && failpoint

package dsmnet_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() { proctest.Register("victim", victim) }

// victim arms itself and listens, or dials: DIR PLAN ROLE.
func victim(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := failpoint.Arm(c.Args[1]); err != nil {
		return err
	}
	if c.Args[2] == "dials" {
		for range 3 {
			conn, err := dsmnet.Dial(ctx, s, "api")
			if err != nil {
				return err
			}
			fmt.Fprintln(conn, "hello")
			if err := conn.Close(); err != nil {
				return err
			}
		}
		return nil
	}
	l, err := dsmnet.Listen(ctx, s, "api")
	if err != nil {
		return err
	}
	c.Say("listens")
	for range 3 {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if _, err := io.ReadAll(conn); err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return l.Close()
}

// TestKilledInside kills a listener, or a dialer, at every point: the other end hears of it, the
// name can be listened on and dialed, and nothing is left.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points(".")
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	for _, role := range []string{"listens", "dials"} {
		at := proctest.Traced(t, role, func(t *testing.T, plan string) { play(t, "posix", role, plan) })
		at = slices.DeleteFunc(at, func(p string) bool { return !strings.HasPrefix(p, "dsmnet/") })
		for _, p := range at {
			reached[p] = true
			for _, backend := range []string{"posix", "sysv", "mmap"} {
				for _, nth := range []int{1, 2} {
					t.Run(fmt.Sprintf("%s/%s/%s/%d", role, p, backend, nth), func(t *testing.T) {
						t.Parallel()
						play(t, backend, role, fmt.Sprintf("%s#%d=kill", p, nth))
					})
				}
			}
		}
	}
	proctest.Reached(t, points, reached)
	t.Logf("%d points", len(points))
}

func play(t *testing.T, backend, role, plan string) {
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	ended := func(v *proctest.Process) {
		if err := v.Perish(plan, strings.Contains(plan, "#1=")); err != nil {
			t.Error(err)
		}
	}
	if role == "dials" {
		l := listen(t, s, "api")
		accepted := make(chan error)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					accepted <- nil
					return
				}
				_, _ = io.ReadAll(c) // a dead one's ends with an error, as late as that is found
				_ = c.Close()
			}
		}()
		ended(proctest.Start(t, "victim", cfg.Dir, plan, role))
		c := dial(t, s, "api")
		fmt.Fprintln(c, "hello")
		is(t, "close", c.Close(), nil)
		is(t, "close", l.Close(), nil)
		<-accepted
	} else {
		v := proctest.Start(t, "victim", cfg.Dir, plan, role)
		if line, ok := v.Line(); ok && line != "listens" {
			t.Fatal(line)
		}
		for range 3 { // it may be dead, or die under each
			if c, err := dsmnet.Dial(ctx, s, "api"); err == nil {
				fmt.Fprintln(c, "hello")
				is(t, "close", c.Close(), nil)
			}
		}
		ended(v)
		l := listen(t, s, "api")
		c := dial(t, s, "api")
		d := accept(t, l)
		fmt.Fprint(c, "hello")
		is(t, "close", c.Close(), nil)
		if got, err := io.ReadAll(d); string(got) != "hello" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		is(t, "close", d.Close(), nil)
		is(t, "close", l.Close(), nil)
	}
	is(t, "close", s.Close(), nil)
	instancetest.OnlyRoot(t, cfg)
}
