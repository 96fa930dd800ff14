package mq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/viewtest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

const endRing = 1 << 10

// ending is two queues, of which this session's view ends: it sends on one and receives on the other. Another session
// lives on.
type ending struct {
	*viewtest.Bytes
	s, theirS *mq.Sender
	r, theirR *mq.Receiver
}

func newEnding(t testing.TB) *ending {
	e := &ending{Bytes: viewtest.New(t, 1<<14)}
	part := func(r shm.Region, i int) shm.Region { return must(r.Sub(shm.Offset(i*(1<<13)), mq.Size(endRing))) }
	out, in := must(mq.Create(part(e.Region, 0))), must(mq.Create(part(e.Region, 1)))
	e.s, e.r = must(out.Sender(liver(1))), must(in.Receiver(liver(1)))
	e.theirR = must(must(mq.Attach(part(e.Others, 0))).Receiver(liver(2)))
	e.theirS = must(must(mq.Attach(part(e.Others, 1))).Sender(liver(2)))
	return e
}

// told reports what the other session, which lives, has not been told: that this end is gone.
func (e *ending) told(t testing.TB, when string) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := e.theirR.Receive(soon)
		if errors.Is(err, mq.ErrDetached) {
			break
		}
		if err != nil {
			t.Errorf("%s: the other end's Receive = %v", when, err)
			break
		}
	}
	for {
		err := e.theirS.Send(soon, make([]byte, 100))
		if errors.Is(err, mq.ErrDetached) {
			break
		}
		if err != nil {
			t.Errorf("%s: the other end's Send = %v", when, err)
			break
		}
	}
}

// calls are methods by name. Each may wait for a while.
func (e *ending) calls() map[string]func(ctx context.Context) error {
	small, large := make([]byte, 8), make([]byte, 3*endRing)
	received := func(_ []byte, err error) error { return err }
	many := mq.NewMany(e.r)
	return map[string]func(ctx context.Context) error{
		"Sender.Send":       func(ctx context.Context) error { return e.s.Send(ctx, small) },
		"Sender.Send large": func(ctx context.Context) error { return e.s.Send(ctx, large) },
		"Sender.SendV":      func(ctx context.Context) error { return e.s.SendV(ctx, small, small) },
		"Sender.TrySend":    func(context.Context) error { return e.s.TrySend(small) },
		"Sender.Flush":      func(context.Context) error { return e.s.Flush() },
		"Sender.WaitAttach": func(ctx context.Context) error { return e.s.WaitAttach(ctx) },
		"Receiver.All": func(ctx context.Context) (err error) {
			for _, err = range e.r.All(ctx) {
				break
			}
			return err
		},
		"Receiver.Receive":    func(ctx context.Context) error { return received(e.r.Receive(ctx)) },
		"Receiver.TryReceive": func(context.Context) error { return received(e.r.TryReceive()) },
		"Receiver.WaitAttach": func(ctx context.Context) error { return e.r.WaitAttach(ctx) },
		"Many.Receive": func(ctx context.Context) error {
			_, _, err := many.Receive(ctx)
			if many.Len() == 0 {
				many.Add(e.r)
			}
			return err
		},
		"WaitAny": func(ctx context.Context) error {
			i, err := mq.WaitAny(ctx, e.r, e.s)
			if err == nil && e.View.Ended() && i < 0 {
				return errors.New("no end is ready")
			}
			return err
		},
	}
}

func known(err error) bool {
	for _, is := range []error{nil, mq.ErrClosed, mq.ErrWouldBlock, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			return true
		}
	}
	return err != nil && strings.Contains(err.Error(), "sent in part")
}

// feed has the other session send messages, and receive some, so that calls here get further.
func (e *ending) feed(small bool) {
	_ = e.theirS.TrySend(make([]byte, 8))
	if !small {
		_ = e.theirS.TrySend(make([]byte, 2*endRing))
	}
	_ = e.theirS.Flush()
}

func TestAfterTheEnd(t *testing.T) {
	for _, checked := range []bool{false, true} {
		e := newEnding(t)
		e.feed(true)
		inPlace := must(e.r.Receive(ctx))
		if checked {
			e.EndChecked()
		} else if e.End(); !bytes.Equal(inPlace, make([]byte, len(inPlace))) {
			t.Error("a message in place is not zeros after the end")
		}
		for name, call := range e.calls() {
			if err := call(ctx); !errors.Is(err, mq.ErrClosed) && name != "WaitAny" {
				t.Errorf("%s = %v", name, err)
			}
		}
		e.s.Detach()
		e.r.Detach()
		if _, err := mq.Attach(e.Region); !errors.Is(err, mq.ErrClosed) {
			t.Errorf("Attach = %v", err)
		}
		if _, err := mq.Create(e.Region); !errors.Is(err, mq.ErrClosed) {
			t.Errorf("Create = %v", err)
		}
		e.told(t, fmt.Sprint("checked ", checked))
	}
}

// TestNoMethodIsForgotten compares the table with what there is.
func TestNoMethodIsForgotten(t *testing.T) {
	e := newEnding(t)
	names := slices.Collect(maps.Keys(e.calls()))
	names = append(names, "Sender.Detach", "Receiver.Detach", "Many.Add", "Many.Len",
		"Queue.SetSender", "Queue.SetReceiver", "Queue.Sender", "Queue.Receiver", // at each point
		"Queue.Asleep", "Conn.Misname") // for tests
	names = append(names, connMethods...)
	for _, x := range []any{new(mq.Queue), e.s, e.r, new(mq.Many), new(mq.Conn)} {
		typ := reflect.TypeOf(x)
		for i := range typ.NumMethod() {
			if name := strings.TrimPrefix(typ.String(), "*mq.") + "." + typ.Method(i).Name; !slices.Contains(names, name) {
				t.Errorf("%s is in no table", name)
			}
		}
	}
}

var connMethods = []string{
	"Conn.Read", "Conn.Write", "Conn.Close", "Conn.LocalAddr", "Conn.RemoteAddr",
	"Conn.CloseRead", "Conn.CloseWrite", "Conn.SetDeadline", "Conn.SetReadDeadline", "Conn.SetWriteDeadline",
}

// TestEndWakes: a call that waits for the other session ends with the view, and so does one of a Conn.
func TestEndWakes(t *testing.T) {
	for _, name := range []string{"Sender.Send large", "Receiver.Receive", "Many.Receive", "WaitAny"} {
		e := newEnding(t)
		for name == "WaitAny" && e.s.TrySend(make([]byte, 100)) == nil {
		}
		done := make(chan error)
		go func() {
			err := e.calls()[name](ctx)
			if name == "WaitAny" && err == nil {
				_, err = e.r.TryReceive()
			}
			done <- err
		}()
		time.Sleep(5 * time.Millisecond)
		e.End()
		if err := <-done; !errors.Is(err, mq.ErrClosed) {
			t.Errorf("%s = %v", name, err)
		}
		e.told(t, name)
	}
}

// TestEndOfConn: Read and Write that wait, and each method afterwards, are net.ErrClosed and ErrClosed.
func TestEndOfConn(t *testing.T) {
	for _, checked := range []bool{false, true} {
		e := newEnding(t)
		c := must(mq.NewConn(e.s, e.r))
		both := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, net.ErrClosed) || !errors.Is(err, mq.ErrClosed) {
				t.Errorf("checked %v: %s = %v", checked, what, err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Read(make([]byte, 10))
			both("Read that waits", err)
		})
		wg.Go(func() {
			_, err := c.Write(make([]byte, 10*endRing))
			both("Write that waits", err)
		})
		must(0, c.SetDeadline(time.Now().Add(time.Hour)))
		time.Sleep(5 * time.Millisecond)
		if checked {
			e.EndChecked()
		} else {
			e.End()
		}
		wg.Wait()
		_, err := c.Read(make([]byte, 10))
		both("Read", err)
		_, err = c.Write(make([]byte, 10))
		both("Write", err)
		both("SetDeadline", c.SetDeadline(time.Now()))
		both("CloseRead", c.CloseRead())
		both("CloseWrite", c.CloseWrite())
		both("SetReadDeadline", c.SetReadDeadline(time.Now()))
		both("SetWriteDeadline", c.SetWriteDeadline(time.Now()))
		_, _ = c.LocalAddr().String(), c.RemoteAddr().String()
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		both("Close again", c.Close())
		e.told(t, "conn")
	}
}

// TestEndWhileInUse: both ends are used while the view ends, and detached.
func TestEndWhileInUse(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for round := range rounds {
		e := newEnding(t)
		calls := e.calls()
		var wg sync.WaitGroup
		var n atomic.Int64
		for _, end := range []string{"Sender", "Receiver"} {
			var names []string
			for _, name := range slices.Sorted(maps.Keys(calls)) {
				if strings.HasPrefix(name, end) {
					names = append(names, name)
				}
			}
			wg.Go(func() {
				for k := round; ; k++ {
					short, cancel := context.WithTimeout(ctx, time.Millisecond)
					err := calls[names[k%len(names)]](short)
					cancel()
					if !known(err) {
						t.Errorf("%s = %v", names[k%len(names)], err)
					}
					if n.Add(1); errors.Is(err, mq.ErrClosed) {
						break
					}
				}
				if end == "Sender" {
					e.s.Detach()
				} else {
					e.r.Detach()
				}
			})
		}
		for n.Load() < int64(round%20*3) {
			e.feed(round%2 == 0)
			_, _ = e.theirR.TryReceive()
			time.Sleep(10 * time.Microsecond)
		}
		e.End()
		wg.Wait()
		e.told(t, fmt.Sprint("round ", round))
	}
}

// TestEndOfConnWhileInUse: 4 goroutines use a Conn, and close it, while the view ends.
func TestEndOfConnWhileInUse(t *testing.T) {
	for round := range 60 {
		e := newEnding(t)
		c, theirs := must(mq.NewConn(e.s, e.r)), must(mq.NewConn(e.theirS, e.theirR))
		var wg sync.WaitGroup
		fine := func(what string, err error) bool {
			if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s = %v", what, err)
			}
			return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
		}
		wg.Go(func() {
			_, _ = io.Copy(io.Discard, theirs)
		})
		wg.Go(func() {
			for b := make([]byte, 700); ; {
				if _, err := theirs.Write(b); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			for b := make([]byte, 100); ; {
				if _, err := c.Read(b); !fine("Read", err) {
					return
				}
			}
		})
		wg.Go(func() {
			for b := make([]byte, 1000); ; {
				if _, err := c.Write(b); !fine("Write", err) {
					return
				}
			}
		})
		wg.Go(func() {
			for fine("SetDeadline", c.SetDeadline(time.Now().Add(time.Duration(round)*10*time.Microsecond))) {
				c.RemoteAddr()
				time.Sleep(50 * time.Microsecond)
			}
			if round%2 == 0 {
				_ = c.Close()
			}
		})
		time.Sleep(time.Duration(round) * 30 * time.Microsecond)
		e.End()
		wg.Wait()
		_ = c.Close()
		_ = theirs.Close()
	}
}
