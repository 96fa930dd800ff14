package dsmnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/mq"
	"golang.org/x/net/nettest"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func listen(t *testing.T, s *dsm.Session, name string) net.Listener {
	t.Helper()
	l, err := dsmnet.Listen(ctx, s, name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, s *dsm.Session, name string) net.Conn {
	t.Helper()
	c, err := dsmnet.Dial(ctx, s, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestConn has golang.org/x/net judge what Dial and Accept return.
func TestConn(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		l := listen(t, a, "api")
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			c1, err = dsmnet.Dial(ctx, b, "api")
			if err != nil {
				return nil, nil, nil, err
			}
			c2, err = l.Accept()
			return c1, c2, func() { c1.Close(); c2.Close() }, err
		})
		is(t, "close", l.Close(), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}

func TestListen(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		_, err := dsmnet.Dial(ctx, b, "api")
		is(t, "dial to no name", err, syscall.ECONNREFUSED)
		l := listen(t, a, "api")
		if l.Addr().Network() != "dsm" || l.Addr().String() != "api" {
			t.Error(l.Addr())
		}
		for _, s := range []*dsm.Session{a, b} {
			_, err = dsmnet.Listen(ctx, s, "api")
			is(t, "listen twice", err, syscall.EADDRINUSE)
		}
		c := dial(t, b, "api")
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		is(t, "close the dialer's end", c.Close(), nil)
		d := accept(t, l)
		if got, err := io.ReadAll(d); string(got) != "hello" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		is(t, "close", d.Close(), nil)
		is(t, "close again", d.Close(), net.ErrClosed)
		_, err = d.Read(make([]byte, 1))
		is(t, "read of what is closed", err, net.ErrClosed)
		is(t, "deadline of what is closed", d.SetDeadline(time.Now()), net.ErrClosed)
		if d.LocalAddr().String() == "?" || d.RemoteAddr().String() != c.LocalAddr().String() ||
			c.RemoteAddr().String() != d.LocalAddr().String() {
			t.Errorf("%v to %v, %v to %v", c.LocalAddr(), c.RemoteAddr(), d.LocalAddr(), d.RemoteAddr())
		}

		unaccepted := dial(t, b, "api")
		is(t, "close", l.Close(), nil)
		is(t, "close again", l.Close(), net.ErrClosed)
		_, err = l.Accept()
		is(t, "accept of what is closed", err, net.ErrClosed)
		if _, err := unaccepted.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("what nobody accepted: %v", err)
		}
		is(t, "close", unaccepted.Close(), nil)
		_, err = dsmnet.Dial(ctx, b, "api")
		is(t, "dial to one who has closed", err, syscall.ECONNREFUSED)
		l = listen(t, b, "api")
		is(t, "close", l.Close(), nil)

		if _, err := registry.Segment[int64](ctx, a, "number", nil, registry.Options{Transient: true}); err != nil {
			t.Fatal(err)
		}
		_, err = dsmnet.Listen(ctx, b, "number")
		is(t, "a name of something else", err, registry.ErrMismatch)
		_, err = dsmnet.Dial(ctx, b, "number")
		is(t, "a name of something else", err, registry.ErrMismatch)
		is(t, "close", a.Close(), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}

// TestSessionEnds: a session that closes ends its listeners and connections, and the waits in them.
func TestSessionEnds(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	l := listen(t, a, "api")
	c, d := dial(t, b, "api"), accept(t, l)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := l.Accept()
		is(t, "accept", err, net.ErrClosed)
	})
	wg.Go(func() {
		_, err := d.Read(make([]byte, 1))
		is(t, "read", err, net.ErrClosed)
	})
	wg.Go(func() {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the other end: %v", err)
		}
	})
	is(t, "close", a.Close(), nil)
	wg.Wait()
	is(t, "late close", l.Close(), nil)
	is(t, "late close", d.Close(), net.ErrClosed)
	is(t, "close", c.Close(), nil)
	instancetest.OnlyRoot(t, cfg)
}

// TestManyDialers: more at once than there are places.
func TestManyDialers(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(), "max_segments", "300")
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	l := listen(t, a, "api")
	const n = 150
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c, err := dsmnet.Dial(ctx, b, "api")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "%d\n", i)
			var back int
			if _, err := fmt.Fscan(c, &back); err != nil || back != 2*i {
				t.Errorf("%d came back for %d, %v", back, i, err)
			}
		})
	}
	for range n {
		c := accept(t, l)
		wg.Go(func() {
			defer c.Close()
			var i int
			if _, err := fmt.Fscan(c, &i); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(c, 2*i)
			_, _ = c.Read(make([]byte, 1)) // until the dialer has it
		})
	}
	wg.Wait()
	is(t, "close", l.Close(), nil)
	instancetest.OnlyRoot(t, cfg)
}

func init() {
	proctest.Register("server", server)
	proctest.Register("client", client)
}

// server serves HTTP on a name: DIR NAME.
func server(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := dsmnet.Listen(ctx, s, c.Args[1])
	if err != nil {
		return err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // all of it, before anything is answered
		_, _ = w.Write(body)
	})
	web := &http.Server{Handler: handler}
	done := make(chan error)
	go func() { done <- web.Serve(l) }()
	c.Say("ready")
	c.Hear()
	if err := web.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// client holds a connection to a name: DIR NAME.
func client(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	conn, err := dsmnet.Dial(ctx, s, c.Args[1])
	if err != nil {
		return err
	}
	fmt.Fprintln(conn, "last words")
	c.Say("connected")
	c.Hear()
	return conn.Close()
}

// TestHTTP: an ordinary client and an ordinary server, in two processes.
func TestHTTP(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		p := proctest.Start(t, "server", cfg.Dir, "web")
		p.Expect("ready")
		s := instancetest.Open(t, cfg)
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dsmnet.Dial(ctx, s, "web")
		}}
		web := http.Client{Transport: transport}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for k := range 20 {
					body := bytes.Repeat([]byte{byte(i)}, 1+k*k*1000)
					resp, err := web.Post("http://web/", "text/plain", bytes.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || !bytes.Equal(got, body) {
						t.Errorf("%d of %d bytes, %v", len(got), len(body), err)
					}
				}
			})
		}
		wg.Wait()
		transport.CloseIdleConnections()
		is(t, "server", p.Close(), nil)
		is(t, "close", s.Close(), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}

// TestKilled: the other end hears of a death, a dead listener's name is free, and nothing is left.
func TestKilled(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		for range 3 {
			p := proctest.Start(t, "server", cfg.Dir, "web")
			p.Expect("ready")
			c := dial(t, s, "web")
			p.Kill()
			_, err := c.Read(make([]byte, 1))
			is(t, "read from the dead", err, mq.ErrPeerDied)
			_, err = dsmnet.Dial(ctx, s, "web")
			is(t, "dial the dead", err, syscall.ECONNREFUSED)
			is(t, "close", c.Close(), nil)
		}
		l := listen(t, s, "web")
		p := proctest.Start(t, "client", cfg.Dir, "web")
		p.Expect("connected")
		c := accept(t, l)
		p.Kill()
		got, err := io.ReadAll(c)
		is(t, "read from the dead", err, mq.ErrPeerDied)
		if string(got) != "last words\n" {
			t.Errorf("%q", got)
		}
		is(t, "close", c.Close(), nil)

		// A listener that is stopped neither answers nor refuses.
		is(t, "close", l.Close(), nil)
		stopped := proctest.Start(t, "server", cfg.Dir, "web")
		stopped.Expect("ready")
		if runtime.GOOS == "linux" && stopped.Stop() == nil { // elsewhere no process tells when it has come to that
			instancetest.Eventually(t, "it is stopped", func() bool { return liveness.Stopped(stopped.Pid) })
			over, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err = dsmnet.Dial(over, s, "web")
			is(t, "dial one who is stopped", err, context.DeadlineExceeded)
		}
		stopped.Kill()
		is(t, "close", s.Close(), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}
