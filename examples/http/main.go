// Command http runs net/http between two processes over shared memory: the worker serves, the leader asks, and neither knows that there is no
// socket.
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
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/supervisor"
)

const ring = 64 << 10

// ends are the queues of a connection in a segment: one each way.
func ends(seg *dsm.Segment, self shmsync.Self, open func(shm.Region) (*mq.Queue, error), send, receive int) (*mq.Conn, error) {
	var q [2]*mq.Queue
	for i := range q {
		r, err := seg.Region().Sub(shm.Offset(i*mq.Size(ring)), mq.Size(ring))
		if err != nil {
			return nil, err
		}
		if q[i], err = open(r); err != nil {
			return nil, err
		}
	}
	s, errS := q[send].Sender(self)
	r, errR := q[receive].Receiver(self)
	if err := errors.Join(errS, errR); err != nil {
		return nil, err
	}
	return mq.NewConn(s, r)
}

// server is the worker process. It serves one connection until that is closed.
var server = parallel.Register("server", func(ctx context.Context, w *parallel.Worker, h dsm.Handle) error {
	seg, err := w.Session.Attach(ctx, w.Owner, h)
	if err != nil {
		return err
	}
	conn, err := ends(seg, w.Session.Self(), mq.Attach, 1, 0)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s, from process %d to %s", r.PathValue("name"), os.Getpid(), r.RemoteAddr)
	})
	l := &once{conn: conn, closed: make(chan struct{})}
	s := &http.Server{Handler: mux, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(l.closed)
		}
	}}
	if err := s.Serve(l); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
})

// once is a listener that has one connection to give.
type once struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *once) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return mq.Addr{} }

func run(ctx context.Context, s *dsm.Session) error {
	seg, err := s.Create(ctx, s.Owner(), 2*mq.Size(ring))
	if err != nil {
		return err
	}
	conn, err := ends(seg, s.Self(), mq.Create, 0, 1)
	if err != nil {
		return err
	}
	defer conn.Close()
	ended := make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, s, 1, seg.Handle())
		conn.Close() // if it never came, nobody answers
	}()
	client := http.Client{Transport: &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		MaxConnsPerHost: 1,
	}}
	const requests = 2000
	begin := time.Now()
	for i := range requests {
		text, err := get(ctx, &client, fmt.Sprintf("http://worker/hello/%d", i))
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Printf("process %d was told: %s\n", os.Getpid(), text)
		}
	}
	fmt.Printf("%d requests, %v each\n", requests, (time.Since(begin) / requests).Round(time.Microsecond))
	client.CloseIdleConnections()
	return <-ended
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
