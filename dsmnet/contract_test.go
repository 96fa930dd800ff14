package dsmnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// transport is something that has connections.
type transport struct {
	name  string
	pair  func(t *testing.T) (a, b net.Conn)
	dial  func(ctx context.Context) (net.Conn, error) // nil if it cannot
	halve bool                                        // it has CloseWrite and CloseRead
	local bool                                        // one end knows at once what the other one has done
}

// transports are those of package net, and ours, to which the same contracts apply.
func transports(t *testing.T) []transport {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	list := []transport{{name: "pipe", local: true, pair: func(t *testing.T) (net.Conn, net.Conn) { return net.Pipe() }}}
	add := func(name string, local bool, l net.Listener, err error, dial func(ctx context.Context) (net.Conn, error)) {
		if err != nil {
			t.Logf("%s is left out: %v", name, err)
			return
		}
		t.Cleanup(func() { _ = l.Close() })
		pair := func(t *testing.T) (net.Conn, net.Conn) {
			a, err := dial(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return a, accept(t, l)
		}
		list = append(list, transport{name, pair, dial, true, local})
	}
	var d net.Dialer
	if runtime.GOOS != "windows" { // there the errors are others, and in wine not all of them right
		path := filepath.Join(t.TempDir(), "u")
		l, err := net.Listen("unix", path)
		add("unix", true, l, err, func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "unix", path) })
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		add("tcp", false, tcp, err, func(ctx context.Context) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", tcp.Addr().String())
		})
	}
	add("dsmnet", true, listen(t, s, "contract"), nil, func(ctx context.Context) (net.Conn, error) {
		return dsmnet.Dial(ctx, other, "contract")
	})
	return list
}

type halver interface {
	CloseWrite() error
	CloseRead() error
}

// timedOut checks what callers of package net look for.
func timedOut(t *testing.T, what string, err error) {
	t.Helper()
	var is net.Error
	if !errors.As(err, &is) || !is.Timeout() {
		t.Errorf("%s = %v, want one whose Timeout is true", what, err)
	}
	if e, ok := err.(net.Error); !ok || !e.Timeout() {
		t.Errorf("%s = %#v, want a net.Error whose Timeout is true", what, err)
	}
}

// contracts are what users of a net.Conn rely on.
var contracts = []struct {
	name string
	on   func(x transport) bool
	test func(t *testing.T, x transport)
}{
	{"request until its end, then the answer", func(x transport) bool { return x.halve }, func(t *testing.T, x transport) {
		a, b := x.pair(t)
		defer a.Close()
		halved := make(chan struct{}) // over tcp there is no half left to close once the other side has closed
		go func() {
			defer b.Close()
			got, err := io.ReadAll(b)
			if <-halved; err == nil {
				_, _ = fmt.Fprintf(b, "%d bytes", len(got))
			}
		}()
		if _, err := a.Write(make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
		is(t, "CloseWrite", a.(halver).CloseWrite(), nil)
		is(t, "again", a.(halver).CloseWrite(), nil)
		close(halved)
		is(t, "a deadline of both", a.SetDeadline(time.Now().Add(time.Minute)), nil)
		_, err := a.Write([]byte("x"))
		is(t, "Write after it", err, syscall.EPIPE)
		if got, err := io.ReadAll(a); string(got) != "1048576 bytes" || err != nil {
			t.Errorf("the answer is %q, %v", got, err)
		}
		is(t, "Close", a.Close(), nil)
		is(t, "CloseWrite after Close", a.(halver).CloseWrite(), net.ErrClosed)
		is(t, "CloseRead after Close", a.(halver).CloseRead(), net.ErrClosed)
	}},
	{"both write first", func(x transport) bool { return x.halve }, func(t *testing.T, x transport) {
		a, b := x.pair(t)
		defer a.Close()
		defer b.Close()
		data := bytes.Repeat([]byte("0123456789abcdef"), 200<<10/16)
		for _, c := range []net.Conn{a, b} {
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			if n, err := c.Write(data); n != len(data) || err != nil {
				t.Fatalf("wrote %d of %d bytes, %v", n, len(data), err)
			}
		}
		for _, c := range []net.Conn{a, b} {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
				t.Error("what was read is not what was written:", err)
			}
		}
	}},
	{"CloseRead", func(x transport) bool { return x.halve }, func(t *testing.T, x transport) {
		a, b := x.pair(t)
		defer a.Close()
		defer b.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read that waits = %v", err)
			}
		})
		is(t, "CloseRead", a.(halver).CloseRead(), nil)
		wg.Wait()
		if x.local {
			_, err := b.Write(make([]byte, 1))
			is(t, "Write to it", err, syscall.EPIPE)
		}
		if _, err := a.Write([]byte("still")); err != nil {
			t.Error(err)
		}
		is(t, "Close", a.Close(), nil)
		if got, err := io.ReadAll(b); x.local && (string(got) != "still" || err != nil) {
			t.Errorf("%q, %v", got, err)
		}
	}},
	{"CloseWrite while a Write waits", func(x transport) bool { return x.halve }, func(t *testing.T, x transport) {
		a, b := x.pair(t)
		defer a.Close()
		defer b.Close()
		ended := make(chan error)
		go func() {
			_, err := a.Write(make([]byte, 64<<20))
			ended <- err
		}()
		if _, err := io.ReadFull(b, make([]byte, 1<<20)); err != nil { // it is under way
			t.Fatal(err)
		}
		is(t, "CloseWrite", a.(halver).CloseWrite(), nil)
		go func() { _, _ = io.Copy(io.Discard, b) }()
		is(t, "Write that waits", <-ended, syscall.EPIPE)
	}},
	{"deadlines", nil, func(t *testing.T, x transport) {
		a, b := x.pair(t)
		defer a.Close()
		defer b.Close()
		_ = a.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := a.Read(make([]byte, 1))
		is(t, "Read", err, os.ErrDeadlineExceeded)
		timedOut(t, "Read", err)
		_ = a.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, err = a.Write(make([]byte, 64<<20))
		is(t, "Write", err, os.ErrDeadlineExceeded)
		timedOut(t, "Write", err)
	}},
	{"a dial that is over", func(x transport) bool { return x.dial != nil }, func(t *testing.T, x transport) {
		late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancel()
		_, err := x.dial(late)
		is(t, "past its deadline", err, context.DeadlineExceeded)
		timedOut(t, "past its deadline", err)
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err = x.dial(cancelled)
		is(t, "cancelled", err, context.Canceled)
		if e, ok := err.(net.Error); !ok || e.Timeout() {
			t.Errorf("cancelled = %#v", err)
		}
	}},
	{"the end", nil, func(t *testing.T, x transport) {
		a, b := x.pair(t)
		is(t, "Close", a.Close(), nil)
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read = %v", err)
		}
		if x.local {
			_, err := b.Write(make([]byte, 1))
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("Write = %v", err)
			}
		}
		if err := a.Close(); x.dial != nil {
			is(t, "Close again", err, net.ErrClosed)
			if _, ok := err.(net.Error); !ok {
				t.Errorf("Close again = %#v", err)
			}
		}
		_, err := a.Read(make([]byte, 1))
		if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Read of what is closed = %v", err)
		}
		is(t, "Close", b.Close(), nil)
	}},
	{"nothing", func(x transport) bool { return x.dial != nil }, func(t *testing.T, x transport) {
		a, b := x.pair(t)
		defer a.Close()
		defer b.Close()
		for range 3 {
			if n, err := a.Write(nil); n != 0 || err != nil {
				t.Error(n, err)
			}
			if n, err := b.Read(nil); n != 0 || err != nil {
				t.Error(n, err)
			}
		}
	}},
}

// TestContract: the same code on what package net has, and on ours.
func TestContract(t *testing.T) {
	list := transports(t)
	for _, c := range contracts {
		for _, x := range list {
			if c.on == nil || c.on(x) {
				t.Run(c.name+"/"+x.name, func(t *testing.T) { c.test(t, x) })
			}
		}
	}
}
