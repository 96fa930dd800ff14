//go:build unix

package sdnotify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager is one in this process: it hears what it is told.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func listen(t *testing.T, name string) manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return manager{t, conn}
}

func (m manager) hear() []string {
	m.t.Helper()
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Split(string(b[:n]), "\n")
}

func (m manager) expect(want ...string) {
	m.t.Helper()
	if got := m.hear(); !slices.Equal(got, want) {
		m.t.Errorf("heard %q, not %q", got, want)
	}
}

func found(t *testing.T, env map[string]string) *Manager {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	m, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	for name := range env {
		if _, is := os.LookupEnv(name); is {
			t.Errorf("%s is still in the environment", name)
		}
	}
	return m
}

func TestServe(t *testing.T) {
	names := map[string]string{"path": filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names["abstract"] = fmt.Sprintf("@dsm-notify-%d", os.Getpid())
	}
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			hears := listen(t, name)
			m := found(t, map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000000",
				"WATCHDOG_PID": strconv.Itoa(os.Getpid())})
			ticks := make(chan time.Time)
			var broken error
			stop := m.serve(Service{
				Look: func(ctx context.Context) error {
					if d, ok := ctx.Deadline(); !ok || time.Until(d) > 10*time.Second {
						t.Error("a look may take longer than half of the interval")
					}
					return broken
				},
				Status: func(context.Context) string { return "3\nsessions" },
			}, m.watchdog/2, ticks)
			hears.expect("READY=1", "STATUS=3 sessions")
			for range 2 {
				ticks <- time.Time{}
				hears.expect("WATCHDOG=1", "STATUS=3 sessions")
			}
			broken = errors.New("no answer")
			ticks <- time.Time{}
			hears.expect("STATUS=does not answer: no answer")
			stop()
			stop()
			if err := m.Stopping("stopping", 5*time.Second); err != nil {
				t.Error(err)
			}
			hears.expect("STOPPING=1", "STATUS=stopping", "EXTEND_TIMEOUT_USEC=5000000")
		})
	}
}

// TestHangs: a service that hangs does not say that it lives.
func TestHangs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	hears := listen(t, name)
	m := found(t, map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000"})
	looking, ticks := make(chan struct{}), make(chan time.Time, 1)
	stop := m.serve(Service{
		Look:   func(ctx context.Context) error { close(looking); <-ctx.Done(); return ctx.Err() },
		Status: func(context.Context) string { return "" },
	}, m.watchdog/2, ticks)
	hears.expect("READY=1", "STATUS=")
	ticks <- time.Time{}
	<-looking
	hears.expect("STATUS=does not answer: context deadline exceeded")
	stop()
}

// TestFullSocket: a manager that does not read holds nothing up, and hears in the end that the service is ready.
func TestFullSocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	hears := listen(t, name)
	m := found(t, map[string]string{"NOTIFY_SOCKET": name})
	n := 0
	var err error
	for ; err == nil; n++ {
		err = m.tell("STATUS=" + strconv.Itoa(n))
	}
	if !errors.Is(err, errBusy) {
		t.Fatal(err)
	}
	ticks := make(chan time.Time)
	stop := m.serve(Service{
		Look:   func(context.Context) error { return nil },
		Status: func(context.Context) string { return "up" },
	}, time.Minute, ticks)
	ticks <- time.Time{}
	ticks <- time.Time{} // the message of the first has been given up
	for i := range n - 1 {
		hears.expect("STATUS=" + strconv.Itoa(i))
	}
	ticks <- time.Time{}
	ready := hears.hear()
	if !slices.Equal(ready, []string{"READY=1", "STATUS=up"}) {
		t.Errorf("heard %q", ready)
	}
	stop()
}

func TestNoManager(t *testing.T) {
	m, err := FromEnvironment()
	if m != nil || err != nil {
		t.Fatal(m, err)
	}
	m.Serve(Service{})()
	if err := m.Stopping("", 0); err != nil {
		t.Error(err)
	}
	gone := found(t, map[string]string{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "none")})
	if err := gone.Stopping("", 0); err == nil {
		t.Error("a message to no socket is told")
	}
	gone.Serve(Service{Status: func(context.Context) string { return "" }})()
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		name, socket, usec, pid string
		watchdog                time.Duration
		bad                     bool
	}{
		{name: "none", socket: "/x"},
		{name: "watchdog", socket: "/x", usec: "3000", watchdog: 3 * time.Millisecond},
		{name: "another process's watchdog", socket: "/x", usec: "3000", pid: "1"},
		{name: "no number", socket: "/x", usec: "3s", bad: true},
		{name: "zero", socket: "/x", usec: "0", bad: true},
		{name: "endless", socket: "/x", usec: "9223372036854775807", bad: true},
		{name: "relative", socket: "x", bad: true},
		{name: "vsock", socket: "vsock:2:1", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", c.socket)
			t.Setenv("WATCHDOG_USEC", c.usec)
			t.Setenv("WATCHDOG_PID", c.pid)
			m, err := FromEnvironment()
			if (err != nil) != c.bad || err == nil && m.watchdog != c.watchdog {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}
