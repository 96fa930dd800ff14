//go:build linux && failpoint

package cache_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// TestStoppedInside stops a process while it has the lock of a part of the cache: lookups and deletes by tag go on, a
// Set there ends with its context and names the process; when it goes on, so does all.
func TestStoppedInside(t *testing.T) {
	cfg, s := instance(t)
	c := open(t, s, "c", small)
	must(t, c.Set(ctx, []byte("key"), []byte("value"), cache.With{Tags: []string{"red"}}))
	v := proctest.Start(t, "victim", cfg.Dir, "logcache/put/counted#2000=stop")
	var status syscall.WaitStatus
	for !status.Stopped() {
		if _, err := syscall.Wait4(v.Pid, &status, syscall.WUNTRACED, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := get(t, c, "key"); got != "value" {
		t.Errorf("Get: %q", got)
	}
	must(t, c.DeleteTag("red"))
	if got := get(t, c, "key"); got != "-" {
		t.Errorf("Get after DeleteTag: %q", got)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond) // the cache is so small that it is all one part
	err := c.Set(short, []byte("key"), nil)
	if cancel(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Set: %v", err)
	}
	st, serr := c.Stats()
	must(t, serr)
	for _, x := range st.Sessions {
		if x.Session != s.Self().Peer && (!strings.Contains(err.Error(), "held by session "+x.Session.String()+" (process ") || !strings.Contains(err.Error(), ", stopped)")) {
			t.Errorf("%v does not name %v, stopped", err, x.Session)
		}
	}
	if len(st.Sessions) != 2 {
		t.Errorf("%+v", st.Sessions)
	}
	must(t, syscall.Kill(v.Pid, syscall.SIGCONT))
	must(t, c.Set(ctx, []byte("key"), []byte("again")))
	v.Kill()
	verify(t, c)
	must(t, work(c))
}
