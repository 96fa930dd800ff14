package endtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/mq"
)

// over reports whether Close has been called.
func (w *world) over() bool { return w.s.Err() != nil }

// unless returns err, but nil if it is of one of the kinds that the method may answer in an open session.
func unless(err error, kinds ...error) error {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return nil
		}
	}
	return err
}

// queued makes a queue for f with a message in it.
func (w *world) queued(f func(q *mq.Queue, s *mq.Sender, r *mq.Receiver) error) error {
	g, q, s, r, err := w.pair()
	if err != nil {
		return err
	}
	if err = s.TrySend([]byte("hello")); err == nil {
		err = f(q, s, r)
	}
	return errors.Join(err, g.Detach())
}

// unowned makes a queue without ends for f.
func (w *world) unowned(f func(q *mq.Queue) error) error {
	return w.fresh(func(g *dsm.Segment) error {
		q, err := mq.Create(g.Region())
		if err == nil {
			err = f(q)
		}
		return err
	})
}

// roundTrip sends a message through user i's queue and takes it out again.
func (w *world) roundTrip(i int, send func(*mq.Sender) error, receive func(*mq.Receiver) ([]byte, error)) error {
	a := &w.alone[i]
	if err := errors.Join(send(a.sender), a.sender.Flush()); err != nil {
		return err
	}
	b, err := receive(a.receiver)
	if err == nil && string(b) != "hello" && !w.over() {
		return wrong("message %q", b)
	}
	return err
}

func sendHello(s *mq.Sender) error              { return errors.Join(s.Send(ctx, []byte("hello")), s.Flush()) }
func receiveOne(r *mq.Receiver) ([]byte, error) { return r.Receive(ctx) }

var usesOfQueues = map[string]use{
	"mq.Create": func(w *world, i int) error {
		return w.queued(func(*mq.Queue, *mq.Sender, *mq.Receiver) error { return nil })
	},
	"mq.Attach": func(w *world, i int) error {
		_, err := mq.Attach(w.alone[i].region)
		return err
	},
	"mq.Queue.Sender": func(w *world, i int) error {
		return w.unowned(func(q *mq.Queue) error { _, err := q.Sender(w.s.Self()); return err })
	},
	"mq.Queue.Receiver": func(w *world, i int) error {
		return w.unowned(func(q *mq.Queue) error { _, err := q.Receiver(w.s.Self()); return err })
	},
	"mq.Queue.SetReceiver": func(w *world, i int) error {
		return w.unowned(func(q *mq.Queue) error { return q.SetReceiver(w.s.Self().Peer) })
	},
	"mq.Queue.SetSender": func(w *world, i int) error {
		return w.unowned(func(q *mq.Queue) error { return q.SetSender(w.s.Self().Peer) })
	},
	"mq.Sender.Send": func(w *world, i int) error { return w.roundTrip(i, sendHello, receiveOne) },
	"mq.Sender.SendV": func(w *world, i int) error {
		return w.roundTrip(i, func(s *mq.Sender) error { return s.SendV(ctx, []byte("he"), []byte("llo")) }, receiveOne)
	},
	"mq.Sender.TrySend": func(w *world, i int) error {
		return w.roundTrip(i, func(s *mq.Sender) error { return s.TrySend([]byte("hello")) }, receiveOne)
	},
	"mq.Sender.Flush":     func(w *world, i int) error { return w.alone[i].sender.Flush() },
	"mq.end.WaitAttach":   func(w *world, i int) error { return w.alone[i].sender.WaitAttach(ctx) },
	"mq.Receiver.Receive": func(w *world, i int) error { return w.roundTrip(i, sendHello, receiveOne) },
	"mq.Receiver.All": func(w *world, i int) error {
		return w.roundTrip(i, sendHello, func(r *mq.Receiver) (b []byte, err error) {
			for b, err = range r.All(ctx) {
				break
			}
			return b, err
		})
	},
	"mq.Receiver.TryReceive": func(w *world, i int) error {
		return w.roundTrip(i, sendHello, func(r *mq.Receiver) ([]byte, error) { return r.TryReceive() })
	},
	"mq.Sender.Detach": func(w *world, i int) error {
		return w.queued(func(_ *mq.Queue, s *mq.Sender, _ *mq.Receiver) error {
			s.Detach()
			s.Detach()
			if s.TrySend(nil) == nil {
				return wrong("a message was sent after Detach")
			}
			return nil
		})
	},
	"mq.Receiver.Detach": func(w *world, i int) error {
		return w.queued(func(_ *mq.Queue, _ *mq.Sender, r *mq.Receiver) error {
			r.Detach()
			r.Detach()
			if _, err := r.TryReceive(); err == nil {
				return wrong("a message was received after Detach")
			}
			return nil
		})
	},
	"mq.WaitAny": func(w *world, i int) error {
		c, cancel := soon()
		defer cancel()
		_, err := mq.WaitAny(c, w.alone[i].receiver)
		return err
	},
	"mq.NewMany": func(w *world, i int) error {
		_, err := w.many(i, mq.NewMany(w.alone[i].receiver))
		return err
	},
	"mq.Many.Add": func(w *world, i int) error {
		m := mq.NewMany()
		m.Add(w.alone[i].receiver)
		_, err := w.many(i, m)
		return err
	},
	"mq.Many.Len":     func(w *world, i int) error { _ = w.alone[i].many.Len(); return nil },
	"mq.Many.Receive": func(w *world, i int) error { _, err := w.many(i, mq.NewMany(w.alone[i].receiver)); return err },
	"mq.NewConn": func(w *world, i int) error {
		return w.queued(func(_ *mq.Queue, s *mq.Sender, r *mq.Receiver) error {
			c, err := mq.NewConn(s, r)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	},
	"mq.Conn.Close": func(w *world, i int) error {
		return w.queued(func(_ *mq.Queue, s *mq.Sender, r *mq.Receiver) error {
			c, err := mq.NewConn(s, r)
			if err == nil {
				err = errors.Join(c.Close(), unless(c.Close(), net.ErrClosed))
			}
			return err
		})
	},
	"mq.Conn.CloseRead": func(w *world, i int) error {
		return w.queued(func(_ *mq.Queue, s *mq.Sender, r *mq.Receiver) error {
			c, err := mq.NewConn(s, r)
			if err == nil {
				err = errors.Join(c.CloseRead(), c.Close())
			}
			return err
		})
	},
	"mq.Conn.CloseWrite": func(w *world, i int) error {
		return w.queued(func(_ *mq.Queue, s *mq.Sender, r *mq.Receiver) error {
			c, err := mq.NewConn(s, r)
			if err == nil {
				err = errors.Join(c.CloseWrite(), c.Close())
			}
			return err
		})
	},
	"mq.Conn.Read":             func(w *world, i int) error { return echo(w.alone[i].conn, w.alone[i].conn) },
	"mq.Conn.Write":            func(w *world, i int) error { return echo(w.alone[i].conn, w.alone[i].conn) },
	"mq.Conn.LocalAddr":        func(w *world, i int) error { _ = w.alone[i].conn.LocalAddr().String(); return nil },
	"mq.Conn.RemoteAddr":       func(w *world, i int) error { _ = w.alone[i].conn.RemoteAddr().String(); return nil },
	"mq.Conn.SetDeadline":      func(w *world, i int) error { return w.alone[i].conn.SetDeadline(time.Time{}) },
	"mq.Conn.SetReadDeadline":  func(w *world, i int) error { return w.alone[i].conn.SetReadDeadline(time.Time{}) },
	"mq.Conn.SetWriteDeadline": func(w *world, i int) error { return w.alone[i].conn.SetWriteDeadline(time.Time{}) },
}

// many receives through m what user i sends to itself.
func (w *world) many(i int, m *mq.Many) ([]byte, error) {
	if err := sendHello(w.alone[i].sender); err != nil {
		return nil, err
	}
	_, b, err := m.Receive(ctx)
	return b, err
}

// echo writes to one end what it reads from the other.
func echo(from, to net.Conn) error {
	if _, err := from.Write([]byte("hello")); err != nil {
		return err
	}
	b := make([]byte, 5)
	_, err := io.ReadFull(to, b)
	if err == nil && string(b) != "hello" {
		return wrong("read %q", b)
	}
	return err
}

var usesOfNet = map[string]use{
	"dsmnet.Listen": func(w *world, i int) error { return w.listening(func(net.Listener) error { return nil }) },
	"dsmnet.Dial": func(w *world, i int) error {
		_, err := w.meet(i)
		return err
	},
	"dsmnet.Dialer.Dial":     func(w *world, i int) error { _, err := w.meet(i); return err },
	"dsmnet.conn.Close":      func(w *world, i int) error { _, err := w.meet(i); return err },
	"dsmnet.listener.Accept": func(w *world, i int) error { _, err := w.meet(i); return err },
	"dsmnet.listener.Addr":   func(w *world, i int) error { _ = w.alone[i].port.Addr().String(); return nil },
	"dsmnet.listener.Close": func(w *world, i int) error {
		return w.listening(func(l net.Listener) error { return errors.Join(l.Close(), unless(l.Close(), net.ErrClosed)) })
	},
}

// listening hands f a listener under a fresh name.
func (w *world) listening(f func(net.Listener) error) error {
	l, err := dsmnet.Listen(ctx, w.s, fmt.Sprint("fresh ", counter.Add(1)))
	if err != nil {
		return err
	}
	return errors.Join(f(l), unless(l.Close(), net.ErrClosed))
}

var counter atomic.Int64

// meet dials user i's listener, sends a few bytes both ways, and hangs up.
func (w *world) meet(i int) (n int, err error) {
	accepted := make(chan error, 1)
	go func() {
		c, err := w.alone[i].port.Accept()
		if err == nil {
			_, err = c.Write([]byte("hello"))
			err = errors.Join(err, c.Close())
		}
		accepted <- err
	}()
	c, err := dsmnet.Dial(ctx, w.s, fmt.Sprint(w.name, "-", i))
	if err == nil {
		b, rerr := io.ReadAll(c)
		if rerr == nil && string(b) != "hello" {
			rerr = wrong("read %q", b)
		}
		err = errors.Join(rerr, c.Close())
	}
	if err != nil && !w.over() {
		return 0, err // the acceptor waits until the end
	}
	return 0, errors.Join(err, <-accepted)
}

var usesOfNames = map[string]use{
	"registry.Segment": func(w *world, i int) error {
		x, err := registry.Segment[words](ctx, w.s, "end", nil)
		if err == nil && x.Number.Load() != 7 && !w.over() {
			err = wrong("what lies under a name is %d", x.Number.Load())
		}
		return err
	},
	"registry.InSegment": func(w *world, i int) error {
		find := func(g *dsm.Segment) (*words, error) { return shm.At[words](g.Region(), 0) }
		x, err := registry.InSegment(ctx, w.s, "end in segment", registry.Kind{Name: "words"}, 4096, find, find)
		if err == nil {
			x.Number.Add(1)
		}
		return err
	},
	"registry.InArea": func(w *world, i int) error {
		create := func(a *dsa.Area) (*dsa.Area, dsa.Pointer, error) { p, err := a.Alloc(8); return a, p, err }
		find := func(a *dsa.Area, p dsa.Pointer) (*dsa.Area, error) { _, err := a.Bytes(p); return a, err }
		_, err := registry.InArea(ctx, w.s, "end in area", registry.Kind{Name: "words"}, dsa.Options{}, create, find)
		return err
	},
	"registry.Area": func(w *world, i int) error {
		_, err := registry.Area(ctx, w.s, "end area", dsa.Options{Initial: 64 << 10})
		return err
	},
	"registry.Hash": func(w *world, i int) error {
		x, err := registry.Hash[uint64, uint64](ctx, w.s, "end hash", dshash.Options{Partitions: 2})
		if err == nil {
			err = x.Set(ctx, 1, 2)
		}
		return err
	},
	"registry.HashBytes": func(w *world, i int) error {
		x, err := registry.HashBytes(ctx, w.s, "end bytes", dshash.Options{Partitions: 2})
		if err == nil {
			err = x.Set(ctx, []byte("a"), []byte("b"))
		}
		return err
	},
	"registry.Delete": func(w *world, i int) error {
		name := fmt.Sprint("to be deleted ", counter.Add(1))
		if _, err := registry.Segment[uint64](ctx, w.s, name, nil); err != nil {
			return err
		}
		return registry.Delete(ctx, w.s, name)
	},
	"registry.List": func(w *world, i int) error {
		l, err := registry.List(ctx, w.s)
		if err == nil && len(l) == 0 {
			err = wrong("no names")
		}
		return err
	},
}
