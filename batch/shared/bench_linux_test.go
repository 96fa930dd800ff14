package shared

import (
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"strconv"
	"strings"
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

// spent returns the processor time of processes so far, in ns: what is above 10 ms counts.
func spent(b *testing.B, pids ...int) (ns float64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		ns += (user + system) * 1e7
	}
	return ns
}

// BenchmarkFront is the way of a command to another process and back: without a database, with 1, 64 and 512 callers, beside
// net/rpc over dsmnet and an engine in this process. It reports the processor time of a command in this process and in the other.
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
		name  string
		other int
		do    func(id uint64) (uint64, error)
	}{
		{"local", 0, func(id uint64) (uint64, error) { return e.Do(ctx, command{id: id}) }},
		{"shared", f.Cmd.Process.Pid, func(id uint64) (uint64, error) { return q.Do(ctx, command{id: id}) }},
		{"rpc", r.Cmd.Process.Pid, func(id uint64) (res uint64, err error) { return res, client.Call("Echo.Number", [3]uint64{id}, &res) }},
	}
	for _, callers := range []int{1, 64, 512} {
		for _, side := range sides {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, side.name), func(b *testing.B) {
				b.ReportAllocs()
				own, other := spent(b, os.Getpid()), 0.0
				if side.other != 0 {
					other = spent(b, side.other)
				}
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
				b.ReportMetric((spent(b, os.Getpid())-own)/float64(b.N), "own-cpu-ns/op")
				if side.other != 0 {
					b.ReportMetric((spent(b, side.other)-other)/float64(b.N), "other-cpu-ns/op")
				}
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
