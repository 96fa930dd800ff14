//go:build linux && failpoint

package area_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"golang.org/x/sys/unix"
)

// TestStoppedInside stops a session at each point of a call at which it has no lock that others need. Another session takes
// all that the stopped one does not name, and fills it; then the stopped one goes on, and nothing of either is hurt.
func TestStoppedInside(t *testing.T) {
	for _, point := range []string{
		"dsa/alloc/named", "dsa/alloc/intended", "dsa/alloc/used", "dsa/collect/named", "dsa/collect/done",
		"dsa/free/intended", "dsa/free/unused", "dsa/free/stamped", "dsa/free/other", "dsa/free/freed", "dsa/free/adopted",
		"dsa/span/retired", "dsa/note/place", "dsa/note/put", "dsa/note/over",
	} {
		for _, nth := range []int{1, 17, 70} {
			t.Run(fmt.Sprintf("%s/%d", point, nth), func(t *testing.T) {
				t.Parallel()
				stopped(t, fmt.Sprintf("%s#%d=stop", point, nth))
			})
		}
	}
}

func stopped(t *testing.T, plan string) {
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	a, err := area.Create(ctx, s, s.Owner(), options)
	if err != nil {
		t.Fatal(err)
	}
	p, l := prepare(t, cfg, a)
	v := proctest.Start(t, "victim", cfg.Dir, area.Handle(a).String(), fmt.Sprint(uint64(p)), "work", plan)
	var info unix.Siginfo
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Waitid(unix.P_PID, v.Pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
	}
	const cldStopped = 5
	if err != nil || info.Code != cldStopped {
		t.Skipf("the victim does not come there so often (%v)", err)
	}
	total := a.Total()
	if err := a.SetLimit(ctx, total); err != nil {
		t.Fatal(err)
	}
	for i := range l {
		if i >= places && i < gifts { // the victim frees these by their words
			continue
		}
		if err := l.free(a, i); err != nil {
			t.Fatal(err)
		}
	}
	total -= clean(t, a).Used
	mine, filled := fill(t, a)
	if rest := total - filled; rest > 3<<20 && rest > total/4 {
		t.Errorf("%d of %d bytes can be had while a session is stopped", filled, total)
	}
	clean(t, a)
	if err := a.SetLimit(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(v.Pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := v.Perish(plan, false); err != nil {
		t.Fatal(err)
	}
	for _, p := range mine {
		if b, err := a.Bytes(p); err != nil || !stamped(b, p) {
			t.Fatalf("%v was written by another: %v", p, err)
		}
		if err := a.Free(p); err != nil {
			t.Fatal(err)
		}
	}
	if rep := clean(t, a); rep.Objects != l.count()+1 || rep.Sessions != 1 {
		t.Errorf("%d objects, %d in the ledger; %d sessions", rep.Objects, l.count(), rep.Sessions)
	}
}

// fill allocates until it is refused, and stamps what it gets.
func fill(t *testing.T, a *dsa.Area) (mine []dsa.Pointer, bytes int64) {
	t.Helper()
	for _, size := range []int{8000, 100, 30_000, 100_000, 8000} {
		for {
			p, err := a.Alloc(size)
			if errors.Is(err, dsa.ErrLimit) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := a.Bytes(p)
			if err != nil {
				t.Fatal(err)
			}
			binary.NativeEndian.PutUint64(b, uint64(p))
			binary.NativeEndian.PutUint64(b[len(b)-8:], ^uint64(p))
			mine, bytes = append(mine, p), bytes+int64(size)
		}
	}
	return mine, bytes
}

func stamped(b []byte, p dsa.Pointer) bool {
	return binary.NativeEndian.Uint64(b) == uint64(p) && binary.NativeEndian.Uint64(b[len(b)-8:]) == ^uint64(p)
}
