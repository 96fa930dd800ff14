package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

func init() {
	side.Register("http/mq", httpMQ)
	side.Register("http/unix", httpUnix)
	side.Partner("http over mq", serveMQ)
	side.Partner("http over unix", serveUnix)
}

const connRing = 64 << 10

const whyHTTP = "what is left is net/http itself: the same code over a pipe in one process takes 0.3 to 0.4 of what " +
	"it takes over a unix socket with 4 clients; on one CPU two changes of process are added to each exchange"

// httpOver returns the figures of requests of net/http by clients of one process to a server in another one, with the
// same code on both sides.
func httpOver(Rivals) (list []figure.Figure) {
	for _, clients := range []int{1, 4} {
		for _, pin := range pins() {
			shape := fmt.Sprintf("GET of 5 bytes, clients: %d", clients)
			list = append(list, figure.Figure{Part: "net/http", Shape: shape, Pin: pin, Sides: []figure.Contender{
				goSide(figure.Ours, "http/mq", clients),
				why(goal(goSide("unix socket", "http/unix", clients), 0.5), whyHTTP),
			}})
		}
	}
	return list
}

// requests shares n requests out to the clients.
func requests(clients int, dial func() (net.Conn, error)) (run func(n int) error, end func()) {
	c := http.Client{Transport: &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return dial() },
		MaxConnsPerHost: clients, MaxIdleConnsPerHost: clients,
	}}
	get := func(n int) error {
		for range n {
			resp, err := c.Get("http://server/")
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s, %w", resp.Status, err)
			}
		}
		return nil
	}
	return func(n int) error {
		errs := make([]error, clients)
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() { errs[i] = get((n + i) / clients) })
		}
		all.Wait()
		return errors.Join(errs...)
	}, c.CloseIdleConnections
}

func serve(l net.Listener) error {
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
}

// connAt returns an end of the connection at that place in the segment: a pair of queues.
func connAt(s *dsm.Session, g *dsm.Segment, i int, first bool) (net.Conn, error) {
	var q [2]*mq.Queue
	for k := range q {
		r, err := g.Region().Sub(shm.Offset((2*i+k)*stride(connRing)), mq.Size(connRing))
		if err == nil {
			q[k], err = mq.Attach(r)
		}
		if errors.Is(err, mq.ErrNotFound) {
			q[k], err = mq.Create(r)
		}
		if err != nil {
			return nil, err
		}
	}
	if !first {
		q[0], q[1] = q[1], q[0]
	}
	out, err := q[0].Sender(s.Self())
	if err != nil {
		return nil, err
	}
	in, err := q[1].Receiver(s.Self())
	if err != nil {
		return nil, err
	}
	return mq.NewConn(out, in)
}

// httpMQ measures requests over connections of shm/mq. Its argument is CLIENTS.
func httpMQ(a side.Args) (*side.Work, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, err
	}
	clients := a.Int(0)
	g, err := w.Create(ctx, w.Owner(), 2*clients*stride(connRing))
	if err != nil {
		return nil, err
	}
	conns := make(chan net.Conn, clients)
	for i := range clients {
		c, err := connAt(w.Session, g, i, true)
		if err != nil {
			return nil, err
		}
		conns <- c
	}
	p, err := side.StartPartner("http over mq", a.Pin, nil, w.dir, g.Handle().String(), a.List[0])
	run, end := requests(clients, func() (net.Conn, error) {
		select {
		case c := <-conns:
			return c, nil
		default:
			return nil, errors.New("there are no more connections: one was broken off")
		}
	})
	return &side.Work{Run: side.Loop(run), Close: func() error { end(); p.Kill(); return w.end() }}, err
}

// given is a listener whose connections are there from the start.
type given struct{ conns chan net.Conn }

func (l given) Accept() (net.Conn, error) { return <-l.conns, nil }
func (l given) Close() error              { return nil }
func (l given) Addr() net.Addr            { return mq.Addr{} }

// serveMQ serves the requests of httpMQ, in another process. Its arguments are DIR HANDLE CLIENTS.
func serveMQ(p *side.Peer) error {
	s, g, err := joinSegment(p.List[0], p.List[1])
	if err != nil {
		return err
	}
	l := given{make(chan net.Conn, p.Int(2))}
	for i := range p.Int(2) {
		c, err := connAt(s, g, i, false)
		if err != nil {
			return err
		}
		l.conns <- c
	}
	p.Ready()
	return serve(l)
}

// httpUnix measures requests over a unix socket. Its argument is CLIENTS.
func httpUnix(a side.Args) (*side.Work, error) {
	dir, err := os.MkdirTemp("", "godsm-bench-http")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "socket")
	p, err := side.StartPartner("http over unix", a.Pin, nil, socket)
	run, end := requests(a.Int(0), func() (net.Conn, error) { return net.Dial("unix", socket) })
	return &side.Work{Run: side.Loop(run), Close: func() error { end(); p.Kill(); return os.RemoveAll(dir) }}, err
}

// serveUnix serves the requests of httpUnix, in another process. Its argument is SOCKET.
func serveUnix(p *side.Peer) error {
	l, err := net.Listen("unix", p.List[0])
	if err != nil {
		return err
	}
	p.Ready()
	return serve(l)
}
