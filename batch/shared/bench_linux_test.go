package shared

import (
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"sync"
	"sync/atomic"
	"testing"

	"context"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() {
	proctest.Register("flusher", flusher)
	proctest.Register("rpc", rpcServer)
}

// echo is a database that does nothing.
type echo struct{ number uint64 }

func (e *echo) Lead(_ context.Context, _ string, number uint64, _ string) (uint64, uint64, error) {
	e.number = number
	return 0, 0, nil
}
func (e *echo) Backend() string { return "" }
func (e *echo) Begin(context.Context, uint64) (batch.Tx[command, uint64], error) {
	return e, nil
}
func (e *echo) Settle(context.Context, uint64) (bool, error) { return true, nil }
func (e *echo) Class(error) batch.Class                      { return batch.Row }
func (e *echo) Close(context.Context) error                  { return nil }
func (e *echo) Run(_ context.Context, steps []batch.Step[command, uint64], _ bool) (int, int, error) {
	for _, s := range steps {
		for i, c := range s.Cmds {
			s.Res[i] = c.id
		}
	}
	return 0, 0, nil
}
func (e *echo) Interact(context.Context, func(context.Context, any) error) error { return nil }
func (e *echo) Alive() bool                                                      { return true }
func (e *echo) Commit(context.Context) error                                     { return nil }
func (e *echo) Rollback(context.Context)                                         {}

func flusher(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	q, err := Open(ctx, s, "queue", commands, numbers, rules, func() (batch.Driver[command, uint64], error) { return &echo{}, nil }, Options{
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c.Say("ready")
	c.Hear()
	return q.Close(ctx)
}

// Echo is what net/rpc calls.
type Echo struct{}

// Number returns a number.
func (Echo) Number(c [3]uint64, res *uint64) error { *res = c[0]; return nil }

func rpcServer(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := dsmnet.Listen(ctx, s, "echo")
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(Echo{}); err != nil {
		return err
	}
	go server.Accept(l)
	c.Say("ready")
	c.Hear()
	return l.Close()
}

// BenchmarkFront is the way of a command to another process and back: without a database, with 1, 64 and 512 callers, beside
// net/rpc over dsmnet and an engine in this process.
func BenchmarkFront(b *testing.B) {
	cfg := instancetest.Config(b, "posix")
	instancetest.Start(b, cfg)
	s := instancetest.Open(b, cfg)
	f := proctest.Start(b, "flusher", cfg.Dir)
	f.Expect("ready")
	q, err := Open(ctx, s, "queue", commands, numbers, rules, nil, Options{})
	if err != nil {
		b.Fatal(err)
	}
	r := proctest.Start(b, "rpc", cfg.Dir)
	r.Expect("ready")
	conn, err := dsmnet.Dial(ctx, s, "echo")
	if err != nil {
		b.Fatal(err)
	}
	client := rpc.NewClient(conn)
	e := batch.New[command, uint64](&echo{}, rules, batch.Options{})
	sides := []struct {
		name string
		do   func(id uint64) (uint64, error)
	}{
		{"local", func(id uint64) (uint64, error) { return e.Do(ctx, command{id: id}) }},
		{"shared", func(id uint64) (uint64, error) { return q.Do(ctx, command{id: id}) }},
		{"rpc", func(id uint64) (res uint64, err error) { return res, client.Call("Echo.Number", [3]uint64{id}, &res) }},
	}
	for _, callers := range []int{1, 64, 512} {
		for _, side := range sides {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, side.name), func(b *testing.B) {
				b.ReportAllocs()
				var next atomic.Int64
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for {
							id := next.Add(1)
							if id > int64(b.N) {
								return
							}
							if _, err := side.do(uint64(id)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
	for _, c := range []io.Closer{client} {
		_ = c.Close()
	}
	if err := q.Close(ctx); err != nil {
		b.Error(err)
	}
	if err := e.Close(ctx); err != nil {
		b.Error(err)
	}
	_ = f.Close()
	_ = r.Close()
}
