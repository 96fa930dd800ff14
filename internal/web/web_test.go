package web

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/locktable"
)

var (
	ctx         = context.Background()
	screenshots = flag.String("screenshots", "", "a directory for pictures of the page")
)

const hostile = "<img src=x onerror=alert(1)>\"\\" // 30 bytes: as long as an application's name may be

// crowd starts an instance that has something of all that the page shows, and serves it.
func crowd(t *testing.T, o Options) (s *httptest.Server, cfg dsm.Config) {
	t.Helper()
	cfg = instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	evil := cfg
	evil.Application = hostile
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, evil)
	for i := range 12 {
		g, err := a.Create(ctx, a.Owner(), 50_000*(i+1))
		must(t, err)
		if i == 0 {
			must(t, g.Pin(ctx))
		}
		if i < 4 {
			_, err = b.Attach(ctx, b.Owner(), g.Handle())
			must(t, err)
		}
	}
	c, err := cache.Open(ctx, a, "pages</script>", cache.Options{Limit: 4 << 20})
	must(t, err)
	for i := range 200 {
		must(t, c.Set(ctx, fmt.Append(nil, i), make([]byte, 1000)))
	}
	for i := range 200 {
		_, _, err = c.Get(fmt.Append(nil, 2*i), nil)
		must(t, err)
	}
	_, err = c.Stats() // which writes the counts down
	must(t, err)
	one, err := locktable.Open(ctx, a, "storage", locktable.Options{})
	must(t, err)
	two, err := locktable.Open(ctx, b, "storage", locktable.Options{})
	must(t, err)
	hold, err := one.Lock(ctx, locktable.Exclusive, "layers", "x")
	must(t, err)
	waits, cancel := context.WithCancel(ctx)
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		if h, err := two.Lock(waits, locktable.Exclusive, "layers", "x"); err == nil {
			_ = h.Unlock()
		}
	}()
	instancetest.Eventually(t, "a session waits for the lock", func() bool {
		for range one.Waiters("layers", "x") {
			return true
		}
		return false
	})
	s = httptest.NewServer(Handler(cfg, o))
	t.Cleanup(func() {
		s.Close()
		cancel()
		<-waited
		_ = hold.Unlock()
		one.Close()
		two.Close()
		must(t, c.Close())
		must(t, a.Close())
		must(t, b.Close())
	})
	return s, cfg
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get asks for a path, under a host if that is not empty.
func get(t *testing.T, s *httptest.Server, method, path, host string, header ...string) (status int, body string, h http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, nil)
	must(t, err)
	if host != "" {
		r.Host = host
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, string(b), answer.Header
}

func TestAnswers(t *testing.T) {
	s, cfg := crowd(t, Options{Hosts: []string{"ops.example"}})
	for _, c := range []struct {
		name, method, path, host string
		header                   []string
		status                   int
	}{
		{"the page", "GET", "/", "", nil, 200},
		{"metrics", "GET", "/metrics", "", nil, 200},
		{"a probe", "HEAD", "/healthz", "", nil, 200},
		{"the state", "GET", "/state.json", "", nil, 200},
		{"localhost", "GET", "/state.json", "localhost:9464", nil, 200},
		{"an address", "GET", "/state.json", "[::1]:9464", nil, 200},
		{"a name that is allowed", "GET", "/state.json", "ops.example:9464", nil, 200},
		{"DNS rebinding", "GET", "/state.json", "attacker.example:9464", nil, 403},
		{"rebinding to the metrics", "GET", "/metrics", "attacker.example", nil, 403},
		{"a name that begins as an address", "GET", "/", "127.0.0.1.attacker.example", nil, 403},
		{"another site's script", "GET", "/state.json", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"a link from another site", "GET", "/", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200},
		{"a store", "POST", "/state.json", "", nil, 405},
		{"a delete", "DELETE", "/", "", nil, 405},
		{"profiles, that were not asked for", "GET", "/debug/pprof/", "", nil, 404},
		{"nothing", "GET", "/../../etc/passwd", "", nil, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, _, h := get(t, s, c.method, c.path, c.host, c.header...)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", h)
			}
		})
	}
	cfg.Dir = t.TempDir()
	off := httptest.NewServer(Handler(cfg, Options{Profile: true}))
	defer off.Close()
	if status, body, _ := get(t, off, "GET", "/healthz", ""); status != 503 || body == "" {
		t.Errorf("a probe of nothing: %d %q", status, body)
	}
	if _, body, _ := get(t, off, "GET", "/metrics", ""); !strings.Contains(body, "dsm_up 0\n") {
		t.Errorf("metrics of nothing: %q", body)
	}
	if status, _, _ := get(t, off, "GET", "/debug/pprof/", ""); status != 200 {
		t.Errorf("profiles: %d", status)
	}
}

// TestState: all parts are there, and hostile names are data.
func TestState(t *testing.T) {
	s, _ := crowd(t, Options{})
	_, body, _ := get(t, s, "GET", "/state.json", "")
	if strings.ContainsAny(body, "<>") {
		t.Error("the state has markup")
	}
	var st State
	must(t, json.Unmarshal([]byte(body), &st))
	if len(st.Sessions) != 2 || st.Sessions[1].Application != hostile {
		t.Errorf("sessions %+v", st.Sessions)
	}
	if len(st.Caches) != 1 || st.Caches[0].Hits != 100 || st.Caches[0].Misses != 100 || st.Caches[0].Error != "" {
		t.Errorf("caches %+v", st.Caches)
	}
	if len(st.Locks) != 2 || len(st.Locks[1].Holders) != 1 || len(st.Locks[1].Waiters) != 1 || len(st.Waits) != 1 {
		t.Errorf("locks %+v, waits %+v", st.Locks, st.Waits)
	}
	if len(st.Memory) < 14 || st.Memory[0].Name != "pages</script>" || st.Memory[0].Kind != "cache" {
		t.Errorf("memory %+v", st.Memory)
	}
	if len(st.Events) != 3 || st.Events[2].Kind != "began" {
		t.Errorf("events %+v", st.Events)
	}
}

// TestPageIsOneAnswer: the document has all that is drawn first, the state with its hostile names among it, and loads nothing but an icon.
func TestPageIsOneAnswer(t *testing.T) {
	s, _ := crowd(t, Options{})
	_, body, head := get(t, s, "GET", "/", "")
	_, rest, _ := strings.Cut(body, `<script id="first" type="application/json">`)
	text, rest, _ := strings.Cut(rest, "</script>")
	var st State
	must(t, json.Unmarshal([]byte(text), &st))
	if len(st.Sessions) != 2 || st.Sessions[1].Application != hostile || st.Memory[0].Name != "pages</script>" {
		t.Errorf("the page comes with %+v", st)
	}
	if n := strings.Count(rest, "</script>"); n != 1 || strings.Count(body, "<script") != 2 {
		t.Errorf("%d scripts end behind the state", n)
	}
	for _, m := range regexp.MustCompile(` (?:src|href)="([^#"]+)"`).FindAllStringSubmatch(body, -1) {
		if m[1] != "icon.svg" {
			t.Errorf("the page loads %s", m[1])
		}
	}
	if policy := head.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || strings.Count(policy, "'sha256-") != 2 {
		t.Errorf("policy %s", policy)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	bounded, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- Serve(bounded, cfg, l, Options{}) }()
	answer, err := http.Get("http://" + l.Addr().String() + "/healthz")
	must(t, err)
	_ = answer.Body.Close()
	cancel()
	must(t, <-served)
}

// browser finds Chromium.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("skipped: no chromium (apt-get install --no-install-recommends chromium)")
	return ""
}

// TestPageInChromium: the page draws all parts, a hostile name is text, nothing of it runs, and nothing is refused by the
// page's own policy.
func TestPageInChromium(t *testing.T) {
	path := browser(t)
	s, _ := crowd(t, Options{})
	run := func(args ...string) (string, string) {
		t.Helper()
		bounded, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
			"--enable-logging=stderr", "--virtual-time-budget=3500", "--user-data-dir=" + t.TempDir()}, append(args, s.URL+"/")...)
		cmd := exec.CommandContext(bounded, path, args...)
		var out, log strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &log
		if err := cmd.Run(); err != nil {
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() < 0 {
				t.Fatalf("%v: %s", err, log.String())
			}
			t.Skipf("skipped: chromium does not run here: %v: %.200s", err, log.String())
		}
		return out.String(), log.String()
	}
	dom, log := run("--dump-dom")
	for _, want := range []string{
		"supervised by process", `class="cache"`, "pages&lt;/script&gt;", "&lt;img src=x onerror=alert(1)&gt;", "storage: layers/x",
		"marker-end", "50.0 %", "joined", `tabindex="0"`,
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Contains(dom, "<img") || strings.Contains(log, "Content Security Policy") || strings.Contains(log, "Uncaught") {
		t.Errorf("the page ran, or broke on, what it was given:\n%s", log)
	}
	if *screenshots != "" {
		must(t, os.MkdirAll(*screenshots, 0o755))
		for name, size := range map[string][]string{
			"page.png":       {"--window-size=1280,1500"},
			"page-dark.png":  {"--window-size=1280,1500", "--blink-settings=preferredColorScheme=0"},
			"page-phone.png": {"--window-size=500,2400"},
		} {
			run(append(size, "--screenshot="+filepath.Join(*screenshots, name))...)
		}
	}
}
