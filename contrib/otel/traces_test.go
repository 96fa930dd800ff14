package otel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/locktable"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// traced is a program with a trace that goes on: each span of ours must be of it.
type traced struct {
	*testing.T
	ctx      context.Context
	provider *trace.TracerProvider
	recorder *tracetest.SpanRecorder
	session  *dsm.Session
}

func newTraced(t *testing.T) *traced {
	t.Helper()
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	x := &traced{T: t, recorder: tracetest.NewSpanRecorder(), session: instancetest.Open(t, cfg)}
	x.provider = trace.NewTracerProvider(trace.WithSpanProcessor(x.recorder))
	inner, parent := x.provider.Tracer("test").Start(ctx, "request")
	x.ctx = inner
	t.Cleanup(func() {
		for _, s := range x.recorder.Ended() {
			if s.SpanContext().TraceID() != parent.SpanContext().TraceID() || !s.Parent().IsValid() || s.InstrumentationScope().Name != scope {
				t.Errorf("%s is of another trace", s.Name())
			}
			if s.EndTime().Before(s.StartTime()) {
				t.Errorf("%s ends before it begins", s.Name())
			}
		}
		if s, e := len(x.recorder.Started()), len(x.recorder.Ended()); s != e+1 {
			t.Errorf("%d spans have begun beside the request, and %d have ended", s-1, e)
		}
		must(t, x.session.Close())
	})
	return x
}

// last returns the last span that has ended, as its name, attributes in their order, and status.
func (x *traced) last() string {
	x.Helper()
	list := x.recorder.Ended()
	if len(list) == 0 {
		x.Fatal("there is no span")
	}
	s := list[len(list)-1]
	text := s.Name()
	for _, a := range s.Attributes() {
		text += fmt.Sprintf(" %s=%s", a.Key, a.Value.Emit())
	}
	if s.Status().Code == codes.Error {
		text += " error: " + s.Status().Description
		if len(s.Events()) != 1 {
			x.Errorf("%s: the error is not recorded", s.Name())
		}
	}
	return text
}

func (x *traced) want(want string, contained ...string) {
	x.Helper()
	got := x.last()
	for _, part := range append(contained, want) {
		if !strings.Contains(got, part) {
			x.Errorf("the span is %q, without %q", got, part)
		}
	}
}

// count returns how many spans of a name have ended.
func (x *traced) count(name string) (n int) {
	for _, s := range x.recorder.Ended() {
		if s.Name() == name {
			n++
		}
	}
	return n
}

func nothing() []attribute.KeyValue { return nil }

// slow is a call that takes as long as a span needs.
func slow() {
	for begun := time.Now(); time.Since(begun) < 2*Least; {
	}
}

// TestSpan: a call that takes Least or fails is a span of that time, and one that does neither is none.
func TestSpan(t *testing.T) {
	x := newTraced(t)
	tr := newTracer(x.provider)
	tr.span(x.ctx, "fast", time.Now().Add(time.Hour), nil, nothing)
	if n := len(x.recorder.Ended()); n != 0 {
		t.Errorf("%d spans of a call that took no time", n)
	}
	tr.span(x.ctx, "slow", time.Now().Add(-time.Second), nil, nothing)
	x.want("slow")
	if s := x.recorder.Ended()[0]; s.EndTime().Sub(s.StartTime()) < time.Second {
		t.Errorf("the span takes %v", s.EndTime().Sub(s.StartTime()))
	}
	tr.locked(x.ctx, time.Now(), io.EOF, locktable.Shared, []string{"a\xff", "b"})
	x.want("dsm.lock dsm.lock.name=a\uFFFD/b dsm.lock.mode=shared error: EOF")
}

// TestDocumentedSpans: the documentation has each span and attribute that the sources name, and no other.
func TestDocumentedSpans(t *testing.T) {
	page, err := os.ReadFile("../../doc/metrics.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(page), "| of | span |")
	table, _, _ := strings.Cut(rest, "\n\n")
	find := func(text, pattern string) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	sources := ""
	for _, name := range []string{"sessions.go", "locks.go", "caches.go", "queues.go"} {
		b, err := os.ReadFile(name)
		must(t, err)
		sources += string(b)
	}
	if a, b := find(table, "`(dsm[.a-z_]+)`"), find(sources, `"(dsm\.[.a-z_]+)"`); len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("the page has %q, the sources %q", a, b)
	}
}

func TestTraceSession(t *testing.T) {
	x := newTraced(t)
	s := TraceSession(x.provider, x.session)
	_, err := s.Create(x.ctx, nil, -1)
	if !errors.Is(err, dsm.ErrSize) {
		t.Errorf("Create = %v", err)
	}
	x.want("dsm.create dsm.segment.size=-1 error: " + err.Error())
	g, err := s.Create(x.ctx, nil, 32<<20) // which takes milliseconds
	must(t, err)
	x.want("dsm.create dsm.segment.size=33554432 dsm.segment.handle=" + g.Handle().String())
	must(t, g.Detach())
	if _, err := s.CreateFrom(x.ctx, nil, strings.NewReader("abc"), 8); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("CreateFrom = %v", err)
	}
	x.want("dsm.create dsm.segment.size=8 error: ")
	if _, err := s.Attach(x.ctx, nil, g.Handle()); !errors.Is(err, dsm.ErrNotFound) {
		t.Errorf("Attach = %v", err)
	}
	x.want("dsm.attach dsm.segment.handle=" + g.Handle().String() + " error: ")
}

func TestTraceLocks(t *testing.T) {
	x := newTraced(t)
	table, err := locktable.Open(ctx, x.session, "storage", locktable.Options{})
	must(t, err)
	defer table.Close()
	l := TraceLocks(x.provider, table)
	n, err := l.Name(x.ctx, "layers", "a")
	must(t, err)
	defer n.Release()
	over, cancel := context.WithCancel(x.ctx)
	cancel()
	for name, call := range map[string]func(context.Context) (unlock func() error, err error){
		"dsm.lock dsm.lock.name=layers/a dsm.lock.mode=exclusive": func(ctx context.Context) (func() error, error) {
			h, err := l.Lock(ctx, locktable.Exclusive, "layers", "a")
			return h.Unlock, err
		},
		"dsm.lock dsm.lock.name=layers/a dsm.lock.mode=shared": func(ctx context.Context) (func() error, error) {
			h, err := n.Lock(ctx, locktable.Shared)
			return h.Unlock, err
		},
		`dsm.lock_many dsm.lock.names=["layers/a","images"]`: func(ctx context.Context) (func() error, error) {
			hs, err := l.LockMany(ctx, locktable.Want{Mode: locktable.Exclusive, Path: []string{"layers", "a"}},
				locktable.Want{Mode: locktable.Shared, Path: []string{"images"}})
			return hs.Unlock, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			held, err := table.Lock(ctx, locktable.Exclusive, "layers", "a")
			must(t, err)
			if _, err := call(over); err == nil {
				t.Error("a lock that is held was got by a call that was over")
			}
			x.want(name, " error: ")
			got := make(chan error, 1)
			go func() {
				unlock, err := call(x.ctx)
				if err == nil {
					err = unlock()
				}
				got <- err
			}()
			instancetest.Eventually(t, "it waits", func() bool {
				for range table.Waiters("layers", "a") {
					return true
				}
				return false
			})
			slow()
			must(t, held.Unlock())
			must(t, <-got)
			x.want(name)
			if last := x.last(); strings.Contains(last, "error") {
				t.Errorf("the span is %q", last)
			}
		})
	}
}

func TestTraceCache(t *testing.T) {
	x := newTraced(t)
	plain, err := cache.Open(ctx, x.session, "pages", cache.Options{Limit: 1 << 20, Negative: time.Hour})
	must(t, err)
	defer plain.Close()
	c := TraceCache(x.provider, plain)
	typed, err := TraceTyped[string](x.provider, plain, cache.JSON[int]())
	must(t, err)
	for name, load := range map[string]func(key string, f func(context.Context) error) error{
		"bytes": func(key string, f func(context.Context) error) error {
			_, err := c.Load(x.ctx, []byte("b"+key), nil, func(ctx context.Context) ([]byte, error) { return []byte("v"), f(ctx) })
			return err
		},
		"typed": func(key string, f func(context.Context) error) error {
			_, err := typed.Load(x.ctx, "t"+key, func(ctx context.Context) (int, error) { return 7, f(ctx) })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := x.count("dsm.cache.load")
			must(t, load("k", func(ctx context.Context) error {
				newTracer(x.provider).span(ctx, "query", time.Now().Add(-time.Second), nil, nothing)
				return nil
			}))
			x.want("dsm.cache.load dsm.cache.name=pages dsm.cache.found=true")
			list := x.recorder.Ended()
			if query, load := list[len(list)-2], list[len(list)-1]; query.Parent().SpanID() != load.SpanContext().SpanID() {
				t.Error("the loader's context does not have the span")
			}
			must(t, load("k", func(context.Context) error { return errors.New("a hit loads") }))
			if err := load("none", func(context.Context) error { return cache.ErrNotFound }); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("Load = %v", err)
			}
			x.want("dsm.cache.load dsm.cache.name=pages dsm.cache.found=false")
			if strings.Contains(x.last(), "error") {
				t.Error("that there is no value is taken for a failure")
			}
			if err := load("bad", func(context.Context) error { return io.ErrNoProgress }); err == nil {
				t.Error("Load succeeds without its loader")
			}
			x.want("dsm.cache.load dsm.cache.name=pages dsm.cache.found=true error: " + io.ErrNoProgress.Error())
			func() {
				defer func() { _ = recover() }()
				_ = load("panics", func(context.Context) error { panic("out of it") })
			}()
			if n := x.count("dsm.cache.load") - before; n != 4 {
				t.Errorf("%d loads, not 4", n)
			}
			misses := func() uint64 {
				s, err := plain.Stats()
				must(t, err)
				return s.Total.Misses
			}
			done := make(chan error, 1)
			must(t, load("shared", func(context.Context) error {
				before := misses()
				go func() {
					done <- load("shared", func(context.Context) error { return errors.New("two load one key") })
				}()
				instancetest.Eventually(t, "the other one finds nothing", func() bool { return misses() > before })
				slow()
				return nil
			}))
			must(t, <-done)
			if x.count("dsm.cache.wait") == 0 {
				t.Error("a wait for another's load has no span")
			}
		})
	}
	if _, err := c.Load(x.ctx, []byte("k2"), nil, nil); err == nil {
		t.Error("Load without a loader")
	}
}

// oneLeader is a driver whose database no other process uses.
type oneLeader struct {
	batch.Driver[batchtest.Command, batchtest.Result]
}

func (oneLeader) Lead(context.Context, string, uint64, string) (by, flush uint64, err error) {
	return 0, 0, nil
}

func (oneLeader) Backend() string { return "" }

func TestTraceQueue(t *testing.T) {
	x := newTraced(t)
	db := oneLeader{batchtest.NewMemory(batchtest.Ways{})}
	commands := shared.Codec[batchtest.Command]{
		Append: func(b []byte, c batchtest.Command) ([]byte, error) { return append(b, byte(c.ID), byte(c.Value)), nil },
		Parse: func(b []byte) (batchtest.Command, error) {
			return batchtest.Command{ID: int(b[0]), Op: batchtest.Add, Key: "home", Value: int64(b[1])}, nil
		},
	}
	results := shared.Codec[batchtest.Result]{
		Append: func(b []byte, r batchtest.Result) ([]byte, error) { return append(b, byte(r.Value)), nil },
		Parse:  func(b []byte) (batchtest.Result, error) { return batchtest.Result{Value: int64(b[0])}, nil },
	}
	plain, err := shared.Open(ctx, x.session, "visits", commands, results, batchtest.Rules(),
		func() (batch.Driver[batchtest.Command, batchtest.Result], error) { return db, nil }, shared.Options{})
	must(t, err)
	q := TraceQueue(x.provider, plain, "visits")
	_, err = q.Do(x.ctx, batchtest.Command{ID: 1, Value: 5})
	must(t, err)
	must(t, q.Close(ctx))
	_, err = q.Do(x.ctx, batchtest.Command{ID: 2})
	if err == nil {
		t.Fatal("Do of a queue that is closed")
	}
	x.want("dsm.queue.do dsm.queue.name=visits error: " + err.Error())
}
