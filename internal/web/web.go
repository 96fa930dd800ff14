// Package web serves what an operator watches of an instance over HTTP: /metrics for Prometheus, /healthz for probes, a page
// for people with the state that it shows at /state.json, and the runtime's profiles of this process if they are asked for.
//
// It only reads: there is no address that changes anything, and a method but GET and HEAD is refused. It joins nothing and
// takes no lock, so it answers beside stopped holders and full tables. Names, applications and notes are chosen by other
// programs: they reach the page as JSON and are put into it as text.
//
// It does not know who asks. Serve it on a loopback address, as it is by default, or behind something that knows. A page of a
// stranger in an operator's browser can't read it: it answers only to addresses, "localhost" and the hosts of Options, so a
// name that a stranger lets point here (DNS rebinding) is refused, and it allows no other origin.
package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/metrics"
	"github.com/godsm/godsm/internal/survey"
)

// Options say what is served. The zero value is what is safe.
type Options struct {
	Hosts   []string // names under which it may be asked, besides addresses and localhost
	Profile bool     // /debug/pprof, of this process
}

// DefaultAddress is where supervise --metrics listens if no address is given.
const DefaultAddress = "127.0.0.1:9464"

// Serve answers at the listener until ctx is over, then waits for requests under way, for a second at most. It closes the
// listener.
func Serve(ctx context.Context, cfg dsm.Config, l net.Listener, o Options) error {
	server := &http.Server{
		Handler: Handler(cfg, o), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(bounded) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(l)
	if stop() {
		return err
	}
	<-ended
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// Handler answers for the instance that runs in cfg.Dir, whichever that is at the time of the request.
func Handler(cfg dsm.Config, o Options) http.Handler {
	h := &handler{cfg: cfg, options: o, page: newPage()}
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", h.metrics)
	mux.HandleFunc("/healthz", h.health)
	mux.HandleFunc("/state.json", h.state)
	mux.HandleFunc("/icon.svg", icon)
	mux.HandleFunc("/{$}", h.document)
	if o.Profile {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return h.guard(mux)
}

type handler struct {
	cfg     dsm.Config
	options Options
	page    page

	mu   sync.Mutex // one look at a time, which all who ask meanwhile share
	last survey.Survey
	err  error
	when time.Time
}

// guard refuses what is not a plain question from a browser, or a scraper, that means this server.
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Cache-Control", "no-store")
		head.Set("Content-Security-Policy", h.page.policy)
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			head.Set("Allow", "GET, HEAD")
			http.Error(w, "this server only answers questions: GET and HEAD", http.StatusMethodNotAllowed)
		case !h.means(r.Host):
			http.Error(w, "this server does not answer to that host name: ask by address, or allow the name", http.StatusForbidden)
		case r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate":
			http.Error(w, "another site may not read this", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// means reports whether the Host of a request is one under which a person or a scraper asks for this server.
func (h *handler) means(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(name, "]"), "["), ".")
	if _, err := netip.ParseAddr(name); err == nil || strings.EqualFold(name, "localhost") {
		return true
	}
	return slices.ContainsFunc(h.options.Hosts, func(x string) bool { return strings.EqualFold(x, name) || x == host })
}

// shared is how old a look may be that another request has made: so many who ask at once cost one look.
const shared = 200 * time.Millisecond

func (h *handler) survey(ctx context.Context) (survey.Survey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.when) > shared {
		h.last, h.err = survey.Take(context.WithoutCancel(ctx), h.cfg)
		h.when = time.Now()
	}
	return h.last, h.err
}

func (h *handler) metrics(w http.ResponseWriter, r *http.Request) {
	s, err := h.survey(r.Context())
	open := strings.Contains(r.Header.Get("Accept"), "application/openmetrics-text")
	w.Header().Set("Content-Type", metrics.ContentType(open))
	_, _ = w.Write(metrics.Text(metrics.Families(s, err), open))
}

// health answers 200 if the instance is supervised and goes on, else 503 and why.
func (h *handler) health(w http.ResponseWriter, r *http.Request) {
	s, err := h.survey(r.Context())
	st := s.Report.Status
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case st.Closing:
		why = "the instance is being stopped"
	case !st.Supervised:
		why = "no supervisor lives; sessions work on"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if why != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(metrics.Clean(why) + "\n"))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

func (h *handler) document(w http.ResponseWriter, r *http.Request) {
	h.page.write(w, h.look(r.Context()))
}

// look returns what the page shows.
func (h *handler) look(ctx context.Context) State {
	s, err := h.survey(ctx)
	s.ReadEvents(ctx, h.cfg, maxEvents)
	return stateOf(s, err)
}
