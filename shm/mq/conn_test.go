package mq_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm/mq"
	"golang.org/x/net/nettest"
)

// pipe is both ends of a connection, by peers 1 and 2.
func pipe(w *world, ring int) (*mq.Conn, *mq.Conn) {
	s1, r2 := pair(w, ring)
	q := newQueue(ring)
	s2, r1 := must(q.Sender(w.self(2))), must(q.Receiver(w.self(1)))
	return must(mq.NewConn(s1, r1)), must(mq.NewConn(s2, r2))
}

// TestConnIsANetConn has golang.org/x/net judge it.
func TestConnIsANetConn(t *testing.T) {
	for _, ring := range []int{64, 1 << 20} {
		t.Run(name(ring), func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				var w world
				a, b := pipe(&w, ring)
				return a, b, func() { a.Close(); b.Close() }, nil
			})
		})
	}
}

// TestBellOutOfReach: a reader whose bell no process can ring is woken all the same, and sleeps on its word from then
// on.
func TestBellOutOfReach(t *testing.T) {
	var w world
	a, b := pipe(&w, 256)
	defer b.Close()
	defer a.Close()
	bell := a.Misname()
	go io.Copy(b, b)
	buf := make([]byte, 1)
	for range 300 {
		a.Write(buf)
		if _, err := a.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan error)
	go func() {
		_, err := a.Read(buf)
		got <- err
	}()
	for bell.Load() != 0 {
		b.Write(buf)
		is(t, "read", <-got, nil)
		go func() {
			_, err := a.Read(buf)
			got <- err
		}()
	}
	a.SetReadDeadline(time.Now())
	is(t, "a deadline", <-got, os.ErrDeadlineExceeded)
}

// TestReaderOfGarbledWordsEnds: what this process itself ends a Read by, a deadline or Close, reaches the reader
// whatever a neighbour has stored in the words by which the other end would wake it.
func TestReaderOfGarbledWordsEnds(t *testing.T) {
	for _, bells := range []bool{true, false} {
		for garbling, garble := range map[string]func(sleep *atomic.Uint32, bell *atomic.Uint64){
			"no bell":      func(_ *atomic.Uint32, bell *atomic.Uint64) { bell.Store(0) },
			"another bell": func(_ *atomic.Uint32, bell *atomic.Uint64) { bell.Store(1 << 40) },
			"awake":        func(sleep *atomic.Uint32, _ *atomic.Uint64) { sleep.Store(0) },
			"all bits":     func(sleep *atomic.Uint32, bell *atomic.Uint64) { sleep.Store(1<<32 - 1); bell.Store(1<<64 - 1) },
		} {
			for ending, end := range map[string]func(c *mq.Conn){
				"deadline": func(c *mq.Conn) { c.SetReadDeadline(time.Now()) },
				"close":    func(c *mq.Conn) { c.Close() },
			} {
				t.Run(fmt.Sprintf("bell %v/%s/%s", bells, garbling, ending), func(t *testing.T) {
					var w world
					s1, r2 := pair(&w, 256)
					self := w.self(1) // a session with a watcher: its reader never looks by itself
					self.Waits = waits.New(func(uint64, func()) (func(), bool) { return func() {}, true }, func() {})
					q := newQueue(256)
					a, b := must(mq.NewConn(s1, must(q.Receiver(self)))), must(mq.NewConn(must(q.Sender(w.self(2))), r2))
					defer b.Close()
					defer a.Close()
					sleep, bell := mq.WordsOf(a)
					if !bells {
						bell.Store(0)
					}
					got := make(chan error)
					go func() {
						_, err := a.Read(make([]byte, 1))
						got <- err
					}()
					for sleep.Load()&1 == 0 {
						runtime.Gosched()
					}
					garble(sleep, bell)
					end(a)
					if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
				})
			}
		}
	}
}

func TestConnEnds(t *testing.T) {
	var w world
	a, b := pipe(&w, 256)
	if n, err := a.Write([]byte("last words")); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	is(t, "close", a.Close(), nil)
	is(t, "close again", a.Close(), net.ErrClosed)
	_, err := a.Write([]byte("x"))
	is(t, "write when closed", err, net.ErrClosed)
	is(t, "deadline when closed", a.SetDeadline(time.Time{}), net.ErrClosed)
	if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, err = b.Write([]byte("x"))
	is(t, "write to one that has closed", err, mq.ErrDetached)
	is(t, "and", err, io.ErrClosedPipe)
	if l, r := b.LocalAddr(), b.RemoteAddr(); l.Network() != "mq" ||
		l.String() != "2/2147483650" || r.String() != "1/2147483649" {
		t.Errorf("from %v to %v", l, r)
	}

	a, b = pipe(&w, 256)
	a.Write([]byte("last words"))
	w.kill(1)
	got, err := io.ReadAll(b)
	if string(got) != "last words" {
		t.Errorf("%q", got)
	}
	is(t, "read from the dead", err, mq.ErrPeerDied)
	is(t, "read from the dead, as a socket's", err, syscall.ECONNRESET)
	n, err := b.Write(make([]byte, 1000))
	is(t, "write to the dead", err, mq.ErrPeerDied)
	is(t, "write to the dead, as a socket's", err, syscall.ECONNRESET)
	if n == 0 || n == 1000 {
		t.Errorf("wrote %d", n)
	}
	s, r := pair(&w, 56)
	_, err = mq.NewConn(s, r)
	is(t, "small rings", err, mq.ErrSize)
}

// TestConnWriteTimesOut: what Write says it has written arrives, and the stream goes on.
func TestConnWriteTimesOut(t *testing.T) {
	var w world
	a, b := pipe(&w, 256)
	data := make([]byte, 10000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	var got []byte
	buf := make([]byte, 100)
	for sent := 0; sent < len(data); {
		a.SetWriteDeadline(time.Now().Add(time.Millisecond))
		n, err := a.Write(data[sent:])
		if sent += n; sent < len(data) {
			is(t, "write", err, os.ErrDeadlineExceeded)
		}
		n, err = b.Read(buf)
		is(t, "read", err, nil)
		got = append(got, buf[:n]...)
	}
	a.Close()
	rest, err := io.ReadAll(b)
	if got = append(got, rest...); !bytes.Equal(got, data) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestWaitingWriteGivesRoomBack: an end that has read and then waits in a Write has given back the room of all it has
// read, so the other end's Write goes on. Both wait in a Write: no Read would do it.
func TestWaitingWriteGivesRoomBack(t *testing.T) {
	var w world
	a, b := pipe(&w, 1024)
	defer b.Close()
	defer a.Close()
	message := make([]byte, 248) // four of them, with their lengths, fill the ring
	for range 4 {
		if _, err := a.Write(message); err != nil {
			t.Fatal(err)
		}
	}
	a.SetWriteDeadline(time.Now().Add(time.Millisecond))
	if n, err := a.Write(message); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a full ring took %d bytes, %v", n, err)
	}
	for range 3 {
		if _, err := io.ReadFull(b, message); err != nil {
			t.Fatal(err)
		}
	}
	go b.Write(make([]byte, 2000)) // until it is closed
	a.SetWriteDeadline(time.Now().Add(time.Minute))
	n, err := a.Write(make([]byte, 3*len(message)))
	if n != 3*len(message) || err != nil {
		t.Errorf("%d bytes were read, and there was room for %d: %v", 3*len(message), n, err)
	}
}

// TestConnBothWays: much data both ways at once through small rings, under -race too.
func TestConnBothWays(t *testing.T) {
	var w world
	a, b := pipe(&w, 1000)
	data := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(6, 7))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	var wg sync.WaitGroup
	for _, c := range []*mq.Conn{a, b} {
		wg.Go(func() {
			for rest := data; len(rest) > 0; {
				n := min(1+rand.IntN(5000), len(rest))
				if _, err := c.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
		wg.Go(func() {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(bufio.NewReader(c), got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("not what was sent, %v", err)
			}
		})
	}
	wg.Wait()
}

// listener hands out connections that are there already.
type listener struct {
	conns chan net.Conn
	once  sync.Once
}

func listen(conns ...net.Conn) *listener {
	l := &listener{conns: make(chan net.Conn, len(conns))}
	for _, c := range conns {
		l.conns <- c
	}
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.conns) }); return nil }
func (l *listener) Addr() net.Addr { return mq.Addr{} }

type Arith int

func (Arith) Double(n int, twice *int) error { *twice = 2 * n; return nil }

func TestHTTPAndRPC(t *testing.T) {
	var w world
	t.Run("http", func(t *testing.T) {
		a, b := pipe(&w, 64<<10)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})}
		done := make(chan error)
		go func() { done <- server.Serve(listen(a)) }()
		client := http.Client{Transport: &http.Transport{
			DialContext:     func(context.Context, string, string) (net.Conn, error) { return b, nil },
			MaxConnsPerHost: 1,
		}}
		for _, n := range []int{0, 1, 1000, 300000} {
			body := bytes.Repeat([]byte("x"), n)
			resp, err := client.Post("http://mq/", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d of %d bytes, %v", len(got), n, err)
			}
		}
		client.CloseIdleConnections()
		if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		<-done
	})
	t.Run("rpc", func(t *testing.T) {
		a, b := pipe(&w, 4096)
		server := rpc.NewServer()
		server.Register(Arith(0))
		done := make(chan bool)
		go func() { server.ServeConn(a); close(done) }()
		client := rpc.NewClient(b)
		for i := range 100 {
			var twice int
			if err := client.Call("Arith.Double", i, &twice); err != nil || twice != 2*i {
				t.Fatal(twice, err)
			}
		}
		client.Close()
		<-done
	})
}
