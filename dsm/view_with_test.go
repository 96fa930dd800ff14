package dsm_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestWithOverClose: a With keeps bytes and row until it returns, in the reserved region and outside, and the session is
// listed as closing until then. What is not lent ends at once.
func TestWithOverClose(t *testing.T) {
	for _, checked := range []string{"off", "on"} {
		for _, backend := range atEnd() {
			for _, reserved := range []string{"0", "1MB"} {
				t.Run(backend+"/"+reserved+"/checked="+checked, func(t *testing.T) {
					cfg := instancetest.Config(t, backend, "min_dynamic_shared_memory", reserved, "checked", checked)
					instancetest.Start(t, cfg)
					other, s := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
					withOverClose(t, s, other, checked == "on", swaps(t, backend))
				})
			}
		}
	}
}

// TestWithKeepsItsLocks: a lock that f has taken in the bytes that are lent stays f's until it gives it back, over the
// end of the session and of the segment.
func TestWithKeepsItsLocks(t *testing.T) {
	ends := map[string]func(s *dsm.Session, g *dsm.Segment) error{
		"close":  func(s *dsm.Session, _ *dsm.Segment) error { return s.Close() },
		"detach": func(_ *dsm.Session, g *dsm.Segment) error { return g.Detach() },
	}
	for _, backend := range atEnd() {
		for _, viewed := range []bool{false, true} {
			for end, f := range ends {
				t.Run(fmt.Sprint(backend, " ", end, " viewed=", viewed), func(t *testing.T) {
					withKeepsItsLocks(t, instancetest.Config(t, backend), viewed, f)
				})
			}
		}
	}
}

func withKeepsItsLocks(t *testing.T, cfg dsm.Config, viewed bool, end func(*dsm.Session, *dsm.Segment) error) {
	instancetest.Start(t, cfg)
	other, s := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	lent := create(t, s, 4096)
	word, err := shm.At[shmsync.LWLockWord](attach(t, other, lent.Handle()).Region(), 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := shmsync.NewLWLock(word, other.Self())
	if viewed {
		lent.Region()
	}
	err = lent.With(func(b []byte) error {
		word, err := shm.At[shmsync.LWLockWord](shm.NewRegion(b), 0)
		if err != nil {
			return err
		}
		g, err := shmsync.NewLWLock(word, s.Self()).Lock(ctx)
		if err != nil {
			return err
		}
		if err := end(s, lent); err != nil {
			return err
		}
		if _, ok, err := theirs.TryLock(); ok || err != nil {
			t.Errorf("another session has the lock as well: %v, %v", ok, err)
		}
		g.Unlock()
		return nil
	})
	if err != nil {
		t.Errorf("With = %v", err)
	}
	g, err := theirs.Lock(ctx)
	if err != nil || g.Abandoned() {
		t.Errorf("the lock afterwards: abandoned %v, %v", g.Abandoned(), err)
	}
	g.Unlock()
}

func withOverClose(t *testing.T, s, other *dsm.Session, checked, private bool) {
	lent, gone := create(t, s, 4096), create(t, s, 4096)
	seen, goneSeen := attach(t, other, lent.Handle()), attach(t, other, gone.Handle())
	late := gone.Bytes()
	peer := s.Self().Peer
	states := func() (list []string) {
		infos, err := other.Sessions(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			if i.Pid != os.Getpid() {
				t.Errorf("listed pid %d", i.Pid)
			}
			list = append(list, i.State.String())
		}
		return list
	}
	err := lent.With(func(b []byte) error {
		if err := s.Close(); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		if got := fmt.Sprint(states()); got != "[running closing]" {
			t.Errorf("listed: %s", got)
		}
		if !other.Self().Alive(peer) {
			t.Error("the session's locks are a dead one's")
		}
		b[4095] = 9
		if seen.Bytes()[4095] != 9 {
			t.Error("the lent bytes are not the segment's")
		}
		if !checked && private {
			late[0] = 1
		}
		if i, _ := info(t, other, gone.Handle()); goneSeen.Bytes()[0] != 0 || i.Refs != 1 {
			t.Errorf("what is not lent lasts: %+v", i)
		}
		if i, _ := info(t, other, lent.Handle()); i.Refs != 2 {
			t.Errorf("what is lent is given back: %+v", i)
		}
		wantErr(t, "With", gone.With(func([]byte) error { return nil }), dsm.ErrClosed)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(states()); got != "[running]" || other.Self().Alive(peer) {
		t.Errorf("listed after the lease: %s", got)
	}
	if i, _ := info(t, other, lent.Handle()); i.Refs != 1 || seen.Bytes()[4095] != 9 {
		t.Errorf("after the lease: %+v", i)
	}
}
