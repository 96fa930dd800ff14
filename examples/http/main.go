// Command http runs net/http between two processes over shared memory: the worker serves on a
// name, the leader asks there, and neither HTTP client nor server knows that there is no socket.
//
//	go run ./examples/http
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

const (
	name     = "hello"
	requests = 2000
)

// server is the worker process. It serves until it is asked to stop.
var server = parallel.Register("server", func(ctx context.Context, w *parallel.Worker, _ struct{}) error {
	l, err := dsmnet.Listen(ctx, w.Session, name)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	s := &http.Server{Handler: mux}
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s, from process %d to %s", r.PathValue("name"), os.Getpid(), r.RemoteAddr)
	})
	stopped := make(chan error, 1)
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) {
		go func() { stopped <- s.Shutdown(ctx) }()
	})
	if err := w.Send(ctx, []byte("ready")); err != nil {
		return err
	}
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
})

func run(ctx context.Context, s *dsm.Session) error {
	ready := make(chan bool, 1)
	ended := make(chan error, 1)
	go func() {
		listens := func(int, []byte) error { ready <- true; return nil }
		ended <- server.RunWith(ctx, s, parallel.Options{Workers: 1, Result: listens}, struct{}{})
	}()
	select {
	case <-ready:
	case err := <-ended:
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dsmnet.Dial(ctx, s, name) },
	}}
	begin := time.Now()
	for i := range requests {
		text, err := ask(ctx, &client, http.MethodGet, fmt.Sprintf("/hello/%d", i))
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Printf("process %d was told: %s\n", os.Getpid(), text)
		}
	}
	fmt.Printf("%d requests, %v each\n", requests, (time.Since(begin) / requests).Round(time.Microsecond))
	_, err := ask(ctx, &client, http.MethodPost, "/stop")
	client.CloseIdleConnections()
	return errors.Join(err, <-ended)
}

func ask(ctx context.Context, client *http.Client, method, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+name+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

func main() {
	parallel.Main() // in the worker this runs server and never returns
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}
