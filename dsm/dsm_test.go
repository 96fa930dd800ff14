package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/resowner"
	"github.com/rs/zerolog"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	parallel.Main()
	proctest.Main(m)
}

func create(t *testing.T, s *dsm.Session, size int) *dsm.Segment {
	t.Helper()
	g, err := s.Create(ctx, s.Owner(), size)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func attach(t *testing.T, s *dsm.Session, h dsm.Handle) *dsm.Segment {
	t.Helper()
	g, err := s.Attach(ctx, s.Owner(), h)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func info(t *testing.T, s *dsm.Session, h dsm.Handle) (dsm.SegmentInfo, bool) {
	t.Helper()
	list, err := s.Segments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(x dsm.SegmentInfo) bool { return x.Handle == h })
	if i < 0 {
		return dsm.SegmentInfo{}, false
	}
	return list[i], true
}

func wantErr(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s = %v, want %v", what, err, w)
		}
	}
	if e, ok := errors.AsType[*dsm.Error](err); !ok || e.Op == "" {
		t.Errorf("%s = %v, want an *Error with an Op", what, err)
	}
}

func TestShareBetweenSessions(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		g := create(t, a, 10000)
		if g.Size() != 10000 || len(g.Bytes()) != 10000 || cap(g.Bytes()) != 10000 || g.Region().Len() != 10000 {
			t.Errorf("size %d, bytes %d of %d", g.Size(), len(g.Bytes()), cap(g.Bytes()))
		}
		if bytes.Count(g.Bytes(), []byte{0}) != 10000 {
			t.Error("a new segment is not zero")
		}
		copy(g.Bytes(), "hello")
		h := attach(t, b, g.Handle())
		if string(h.Bytes()[:5]) != "hello" {
			t.Error("the other session sees other bytes")
		}
		if i, ok := info(t, a, g.Handle()); !ok || i.Refs != 2 || i.Size != 10000 || i.State != "live" ||
			len(i.Holders) != 2 || i.CreatorPid != os.Getpid() || i.Pinned {
			t.Errorf("%+v", i)
		}
		if err := g.Detach(); err != nil {
			t.Error(err)
		}
		if string(h.Bytes()[:5]) != "hello" || g.Bytes() != nil {
			t.Error("the creator's detach was felt elsewhere, or not at all")
		}
		if err := h.Detach(); err != nil {
			t.Error(err)
		}
		_, err := b.Attach(ctx, b.Owner(), g.Handle())
		wantErr(t, "Attach after the last Detach", err, dsm.ErrNotFound, fs.ErrNotExist)
		if n := instancetest.Objects(t, cfg.Dir); n != 0 {
			t.Errorf("%d objects are left", n)
		}
	})
}

func TestBadCalls(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	over, cancel := context.WithCancel(ctx)
	cancel()
	ended := resowner.New("ended", zerolog.Logger{})
	_ = ended.Abort()
	for _, size := range []int{0, -1} {
		_, err := s.Create(ctx, s.Owner(), size)
		wantErr(t, "Create of a bad size", err, dsm.ErrSize, fs.ErrInvalid)
	}
	_, err := s.Attach(ctx, nil, 1)
	wantErr(t, "Attach of no segment", err, dsm.ErrNotFound)
	_, err = s.Create(over, s.Owner(), 1)
	wantErr(t, "Create with a context that is over", err, context.Canceled)
	_, err = s.Attach(over, s.Owner(), 1)
	wantErr(t, "Attach with a context that is over", err, context.Canceled)
	_, err = dsm.Open(over, cfg)
	wantErr(t, "Open with a context that is over", err, context.Canceled)
	var none context.Context
	for what, call := range map[string]func() error{
		"Open":     func() error { _, err := dsm.Open(none, cfg); return err },
		"Create":   func() error { _, err := s.Create(none, s.Owner(), 1); return err },
		"Attach":   func() error { _, err := s.Attach(none, s.Owner(), 1); return err },
		"Root":     func() error { _, err := s.Root(none, nil); return err },
		"Segments": func() error { _, err := s.Segments(none); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "context is nil") {
			t.Errorf("%s without a context = %v", what, err)
		}
	}
	g := create(t, s, 100)
	for what, err := range map[string]error{"With": g.With(nil), "Contain": s.Contain(nil)} {
		if err == nil || !strings.Contains(err.Error(), "function to be called is nil") {
			t.Errorf("%s without a function = %v", what, err)
		}
	}
	g.OnDetach(nil)()
	s.OnDeath(nil)()
	if err := g.Detach(); err != nil {
		t.Errorf("a function of OnDetach that is nil: %v", err)
	}
	_, err = s.Create(ctx, ended, 1)
	wantErr(t, "Create under an ended owner", err, dsm.ErrClosed, resowner.ErrClosed, fs.ErrClosed)
	for _, h := range []dsm.Handle{0, 1, 1 << 16, 0xffff, ^dsm.Handle(0)} {
		_, err = s.Attach(ctx, s.Owner(), h)
		wantErr(t, "Attach of a handle that is none", err, dsm.ErrNotFound)
	}
	wantErr(t, "Unpin of a handle that is none", s.Unpin(ctx, 77), dsm.ErrNotFound)
	if strconv.IntSize == 64 { // fewer bits than this machine has memory
		_, err = s.Create(ctx, s.Owner(), math.MaxInt/2)
		wantErr(t, "Create of more than there is", err, dsm.ErrNoSpace)
	}
	if list, _ := s.Segments(ctx); len(list) != 0 {
		t.Errorf("the refused calls left %d segments", len(list))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Create(ctx, s.Owner(), 1)
	wantErr(t, "Create after Close", err, dsm.ErrClosed)
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if s.Err() != dsm.ErrClosed {
		t.Errorf("Err() = %v", s.Err())
	}
	<-s.Done()
}

func TestOwners(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	job, err := s.Owner().Child("job")
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Create(ctx, job, 10)
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := s.Create(ctx, job, 10)
	shared, _ := s.Attach(ctx, s.Owner(), g.Handle())
	if err := kept.MoveTo(s.Owner()); err != nil {
		t.Fatal(err)
	}
	if err := job.Abort(); err != nil {
		t.Fatal(err)
	}
	if g.Bytes() != nil || kept.Bytes() == nil || shared.Bytes() == nil {
		t.Error("the owner's end detached the wrong ones")
	}
	wantErr(t, "MoveTo of a detached segment", g.MoveTo(s.Owner()), dsm.ErrClosed)
	wantErr(t, "MoveTo to an ended owner", kept.MoveTo(job), dsm.ErrClosed)
	if kept.Bytes() == nil {
		t.Error("the failed move detached the segment")
	}
	other := resowner.New("not the session's", zerolog.Logger{})
	foreign, err := s.Create(ctx, other, 10)
	if err != nil {
		t.Fatal(err)
	}
	hooked := false
	foreign.OnDetach(func() { hooked = true })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !hooked || foreign.Bytes() != nil {
		t.Error("Close left a segment attached")
	}
	if err := other.Abort(); err != nil {
		t.Error(err)
	}
}

func TestLeakAtCommitNamesTheCaller(t *testing.T) {
	for _, settings := range [][]string{nil, {"min_dynamic_shared_memory", "64kB"}} {
		var out bytes.Buffer
		cfg := instancetest.Config(t, catalog.Default(), settings...)
		instancetest.Start(t, cfg)
		cfg.Logger = zerolog.New(&out)
		s := instancetest.Open(t, cfg)
		line := 0
		next := func() { _, _, line, _ = runtime.Caller(1); line++ }
		for i, f := range []func(o *resowner.Owner) (*dsm.Segment, error){
			func(o *resowner.Owner) (*dsm.Segment, error) {
				next()
				return s.Create(ctx, o, 1)
			},
			func(o *resowner.Owner) (*dsm.Segment, error) {
				next()
				return s.Create(ctx, o, 20<<10)
			},
			func(o *resowner.Owner) (*dsm.Segment, error) {
				g := create(t, s, 1)
				next()
				return s.Attach(ctx, o, g.Handle())
			},
			func(o *resowner.Owner) (*dsm.Segment, error) {
				g := create(t, s, 1)
				next()
				return g, g.MoveTo(o)
			},
		} {
			out.Reset()
			job, _ := s.Owner().Child("job")
			g, err := f(job)
			if err != nil {
				t.Fatal(err)
			}
			if err := job.Commit(); err != nil {
				t.Fatal(err)
			}
			text, place := out.String(), fmt.Sprintf("dsm_test.go:%d", line)
			if !strings.Contains(text, place) || !strings.Contains(text, g.Handle().String()) {
				t.Errorf("%v, case %d: want line %d in the log: %s", settings, i, line, text)
			}
		}
	}
}

func TestPin(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		g := create(t, a, 10)
		copy(g.Bytes(), "pinned")
		for range 2 {
			if err := g.Pin(ctx); err != nil {
				t.Fatal(err)
			}
		}
		h := g.Handle()
		if i, _ := info(t, b, h); !i.Pinned || i.Refs != 2 {
			t.Errorf("%+v", i)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		x := attach(t, b, h)
		if !bytes.HasPrefix(x.Bytes(), []byte("pinned")) {
			t.Error("the pinned segment lost its bytes")
		}
		if err := b.Unpin(ctx, h); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "second Unpin", x.Unpin(ctx), dsm.ErrNotFound)
		if x.Bytes() == nil {
			t.Error("Unpin detached")
		}
		_ = x.Pin(ctx)
		_ = x.Detach()
		wantErr(t, "Pin of a detached Segment", x.Pin(ctx), dsm.ErrClosed)
		if err := b.Unpin(ctx, h); err != nil { // without a holder it goes
			t.Fatal(err)
		}
		if _, ok := info(t, b, h); ok {
			t.Error("an unpinned segment that nobody holds is still there")
		}
		// A keeper's is gone at the next look.
		instancetest.Eventually(t, "its object is gone", func() bool { return instancetest.Objects(t, cfg.Dir) == 0 })
	})
}

func TestLimits(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(),
		"max_segments", "5", "max_processes", "2",
		"max_memory", "1MB", "max_memory_per_process", "600kB",
		"max_segments_per_process", "3")
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	refuse := func(s *dsm.Session, size int, want error, says string) {
		t.Helper()
		objects := instancetest.Objects(t, cfg.Dir)
		_, err := s.Create(ctx, s.Owner(), size)
		wantErr(t, "Create", err, want)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
		if n := instancetest.Objects(t, cfg.Dir); n != objects {
			t.Errorf("the refused Create left %d objects", n-objects)
		}
	}
	_, err := dsm.Open(ctx, cfg)
	wantErr(t, "Open with a full table", err, dsm.ErrTooManyProcesses)
	big := create(t, a, 500<<10)
	refuse(a, 101<<10, dsm.ErrQuota, "max_memory_per_process")
	create(t, b, 500<<10)
	refuse(b, 50<<10, dsm.ErrQuota, "max_memory = ")
	_, err = b.Attach(ctx, b.Owner(), big.Handle())
	wantErr(t, "Attach beyond the quota", err, dsm.ErrQuota)
	create(t, a, 1)
	middle := create(t, a, 1)
	refuse(a, 1, dsm.ErrQuota, "max_segments_per_process = 3")
	create(t, b, 1)
	refuse(b, 1, dsm.ErrTooManySegments, "max_segments")
	if err := middle.Detach(); err != nil { // one freed in the middle: the next works
		t.Fatal(err)
	}
	create(t, b, 1)
}
