//go:build unix

package main

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// TestSuperviseServesMetrics asks a supervisor over HTTP, on the loopback address, and sees wrong addresses refused.
func TestSuperviseServesMetrics(t *testing.T) {
	p := newPlace(t)
	for _, args := range [][]string{{"--metrics", "nowhere"}, {"--metrics", "127.0.0.1:port"}, {"--metrics", "127.0.0.1:"}, {"--pprof"}} {
		if _, errs, status := p.run(append([]string{"supervise"}, args...)...); status != 2 {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}
	s := proctest.Run(t, p.command("supervise", "--metrics", ":0"))
	t.Cleanup(func() {
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
	})
	s.Expect("ready: ")
	address := regexp.MustCompile(`serves metrics address=(127\.0\.0\.1:\d+)`)
	var m []string
	instancetest.Eventually(t, "the log says the address", func() bool { // it is another stream than that of the line "ready"
		m = address.FindStringSubmatch(s.Stderr())
		return m != nil
	})
	if strings.Contains(s.Stderr(), "password") {
		t.Errorf("a warning of a loopback address: %s", s.Stderr())
	}
	for path, want := range map[string]string{"/metrics": "dsm_up 1", "/healthz": "", "/": "<html"} {
		r, err := http.Get("http://" + m[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s, %v, %.200s", path, r.Status, err, text)
		}
	}
	if _, errs, status := p.run("supervise", "--metrics", m[1], "--dir", p.dir+"x"); status != 1 || !strings.Contains(errs, "--metrics: ") {
		t.Errorf("an address in use: status %d, %s", status, errs)
	}
	if _, err := os.Stat(p.dir + "x/id"); err == nil {
		t.Error("an instance was started without its metrics")
	}
}

// TestMetricsBeyondLoopback: all addresses of IPv4 are not those of IPv6, and the log warns of what others may read.
func TestMetricsBeyondLoopback(t *testing.T) {
	p := newPlace(t)
	s := p.supervise("--metrics", "0.0.0.0:0")
	instancetest.Eventually(t, "the log warns", func() bool { return strings.Contains(s.Stderr(), "without a password") })
	if log := s.Stderr(); !strings.Contains(log, "address=0.0.0.0:") {
		t.Errorf("it listens elsewhere: %s", log)
	}
}
