//go:build unix

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

const (
	workers = 2
	pages   = 4000
)

// options are those of the cache, which has room for two thirds of the pages.
var options = cache.Options{Limit: 8 << 20, TTL: time.Hour}

// page returns what the origin would send.
func page(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return []byte(strings.Repeat(fmt.Sprintf("page %s %x\n", name, sum), 20+int(sum[0])/6))
}

// supervise owns the instance of DIR, its argument. At SIGTERM it hands the instance over, at the end of its standard input it
// ends it.
func supervise() error {
	s, err := supervisor.Start(context.Background(), config(os.Args[2]))
	if err != nil {
		return err
	}
	if untilTold() {
		return s.Leave()
	}
	return s.Stop()
}

// lead starts the workers of one version and, when it is told to end, has them answer what they have accepted. Its arguments
// are DIR VERSION, and it has the listener as descriptor 3.
func lead() error {
	ctx := context.Background()
	session, err := dsm.Open(ctx, config(os.Args[2]))
	if err != nil {
		return err
	}
	defer session.Close()
	listener := os.NewFile(3, "listener")
	set, err := server.Start(ctx, session, parallel.Options{Workers: workers, Retries: 10, Grace: 10 * time.Second,
		Files: []*os.File{listener}}, os.Args[3])
	if err != nil {
		return err
	}
	untilTold()
	return set.Stop()
}

// server is one of the workers. It accepts until its context ends, then answers what it has accepted.
var server = parallel.Register("server", func(ctx context.Context, w *parallel.Worker, version string) error {
	cached, err := cache.Open(ctx, w.Session, "pages", options)
	if err != nil {
		return err
	}
	defer cached.Close()
	l, err := net.FileListener(w.Files[0])
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		name, hit := r.URL.Path[1:], true
		b, err := cached.Load(r.Context(), []byte(name), nil, func(context.Context) ([]byte, error) {
			hit = false
			time.Sleep(200 * time.Microsecond) // the origin
			return page(name), nil
		})
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		out.Header().Set("X-Cache", strconv.FormatBool(hit))
		out.Header().Set("X-Version", version)
		_, _ = out.Write(b)
	})}
	return serveUntil(ctx, s, l, w.Ready)
})

// serveUntil serves until ctx ends, and then answers what has been accepted. Server.Shutdown would not do: it drops a connection
// that was accepted and whose request it has not read yet.
func serveUntil(ctx context.Context, s *http.Server, l net.Listener, ready func() error) error {
	var open sync.WaitGroup
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew: // before the next one is accepted
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Done()
		}
	}
	s.ReadHeaderTimeout = 2 * time.Second // of one that never asks
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	if err := ready(); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	_ = l.Close()
	<-served
	s.SetKeepAlivesEnabled(false) // ends what is idle, and each other connection with its answer
	open.Wait()
	return nil
}
