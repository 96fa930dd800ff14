package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl/catalog"
	"github.com/godsm/godsm/internal/instancetest"
	"github.com/godsm/godsm/internal/leaktest"
	"github.com/godsm/godsm/internal/proctest"
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
		if i, ok := info(t, a, g.Handle()); !ok || i.Refs != 2 || i.Size != 10000 || i.State != "live" || len(i.Holders) != 2 || i.CreatorPid != os.Getpid() || i.Pinned {
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

func TestOneMappingPerProcess(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g := create(t, s, 100)
	before := leaktest.Now()
	var all []*dsm.Segment
	for range 10 {
		h := attach(t, s, g.Handle())
		if &h.Bytes()[0] != &g.Bytes()[0] {
			t.Fatal("a second mapping")
		}
		all = append(all, h)
	}
	if now := leaktest.Now(); now != before {
		t.Errorf("ten attaches went from %+v to %+v", before, now)
	}
	if i, _ := info(t, s, g.Handle()); i.Refs != 1 {
		t.Errorf("%d references", i.Refs)
	}
	for range 2 {
		if err := g.Detach(); err != nil { // twice is harmless
			t.Error(err)
		}
	}
	all[0].Bytes()[0] = 1
	for _, h := range all {
		if err := h.Detach(); err != nil {
			t.Error(err)
		}
	}
	if _, ok := info(t, s, g.Handle()); ok {
		t.Error("the segment outlived its last Detach")
	}
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
	_, err := s.Create(ctx, nil, 1)
	if err == nil || !strings.Contains(err.Error(), "Session.Owner()") {
		t.Errorf("Create without an owner = %v", err)
	}
	_, err = s.Attach(ctx, nil, 1)
	wantErr(t, "Attach without an owner", err)
	_, err = s.Create(over, s.Owner(), 1)
	wantErr(t, "Create with a context that is over", err, context.Canceled)
	_, err = s.Attach(over, s.Owner(), 1)
	wantErr(t, "Attach with a context that is over", err, context.Canceled)
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

func TestOpenErrors(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	_, err := dsm.Open(ctx, dsm.Config{Dir: cfg.Dir})
	wantErr(t, "Open where nothing runs", err, dsm.ErrNoInstance)
	if want := "start one with: dsmdemo supervise --dir " + cfg.Dir; !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
	_, err = dsm.Open(ctx, dsm.Config{Dir: cfg.Dir + "/missing"})
	wantErr(t, "Open of a missing directory", err, dsm.ErrNoInstance)
	sup := instancetest.Start(t, cfg)
	set := func(name, value string) dsm.Config {
		return dsm.Config{Dir: cfg.Dir, Settings: map[string]string{name: value}}
	}
	_, err = dsm.Open(ctx, set("dynamic_shared_memory_type", "none"))
	wantErr(t, "Open with type none", err, dsm.ErrDisabled)
	_, err = dsm.Open(ctx, set("dynamic_shared_memory_type", "sysv"))
	if err == nil || !strings.Contains(err.Error(), "sysv, but the running instance has "+catalog.Default()) {
		t.Errorf("Open with another type = %v", err)
	}
	_, err = dsm.Open(ctx, set("max_segments", "7"))
	if err == nil || !strings.Contains(err.Error(), "max_segments = 7, but the running instance has 100") {
		t.Errorf("Open with another max_segments = %v", err)
	}
	_, err = dsm.Open(ctx, set("max_segment", "7"))
	if err == nil || !strings.Contains(err.Error(), `no setting "max_segment"`) {
		t.Errorf("Open with an unknown setting = %v", err)
	}
	if s, err := dsm.Open(ctx, dsm.Config{Dir: cfg.Dir}); err != nil { // needs to know nothing
		t.Error(err)
	} else {
		s.Close()
	}
	if err := sup.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err = dsm.Open(ctx, dsm.Config{Dir: cfg.Dir})
	wantErr(t, "Open after the stop", err, dsm.ErrNoInstance)
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
	var out bytes.Buffer
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	cfg.Logger = zerolog.New(&out)
	s := instancetest.Open(t, cfg)
	for _, f := range []func(o *resowner.Owner) (*dsm.Segment, error){
		func(o *resowner.Owner) (*dsm.Segment, error) { return s.Create(ctx, o, 1) },
		func(o *resowner.Owner) (*dsm.Segment, error) {
			g := create(t, s, 1)
			return s.Attach(ctx, o, g.Handle())
		},
		func(o *resowner.Owner) (*dsm.Segment, error) { g := create(t, s, 1); return g, g.MoveTo(o) },
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
		if text := out.String(); !strings.Contains(text, "dsm_test.go:") || !strings.Contains(text, g.Handle().String()) {
			t.Errorf("log: %s", text)
		}
	}
}

func TestHooks(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g := create(t, s, 10)
	other := attach(t, s, g.Handle())
	var ran []int
	hook := func(n int) func() { return func() { ran = append(ran, n) } }
	g.OnDetach(hook(1))
	cancel := g.OnDetach(hook(2))
	g.OnDetach(func() {
		ran = append(ran, 3)
		_ = g.Detach() // from inside is harmless
		panic("oops")
	})
	g.OnDetach(hook(4))
	if !cancel() || cancel() {
		t.Error("cancel must be true once")
	}
	err := g.Detach()
	if !slices.Equal(ran, []int{4, 3, 1}) {
		t.Errorf("ran %v", ran)
	}
	if err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("Detach = %v, want the panic", err)
	}
	if other.Bytes() == nil {
		t.Error("hooks of one Segment detached another")
	}
	late := g.OnDetach(hook(5))
	if !slices.Equal(ran, []int{4, 3, 1, 5}) || late() {
		t.Error("a hook on a detached Segment must run at once")
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
		if err := b.Unpin(ctx, h); err != nil { // nobody holds it: it goes
			t.Fatal(err)
		}
		if _, ok := info(t, b, h); ok {
			t.Error("an unpinned segment that nobody holds is still there")
		}
		instancetest.Eventually(t, "its object is gone", func() bool { return instancetest.Objects(t, cfg.Dir) == 0 }) // a keeper's at the next look
	})
}

func TestLimits(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(), "max_segments", "5", "max_processes", "2", "max_memory", "1MB", "max_memory_per_process", "600kB", "max_segments_per_process", "3")
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

func TestWith(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g := create(t, s, 10)
	mine := errors.New("mine")
	if err := g.With(func(b []byte) error { b[0] = 7; return mine }); err != mine {
		t.Errorf("With = %v, want f's error", err)
	}
	in, out := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		done <- g.With(func(b []byte) error {
			close(in)
			<-out
			if b[0] != 7 { // still mapped, though detached and the session closed
				return errors.New("the bytes went from under a lease")
			}
			b[9] = 1
			return nil
		})
	}()
	<-in
	hooked := false
	g.OnDetach(func() { hooked = true })
	if err := g.Detach(); err != nil || !hooked {
		t.Error(err, hooked)
	}
	wantErr(t, "With after Detach", g.With(func([]byte) error { return nil }), dsm.ErrClosed)
	if _, ok := info(t, s, g.Handle()); !ok {
		t.Error("the reference went before the last lease")
	}
	if err := s.Close(); err != nil { // does not wait for the lease
		t.Fatal(err)
	}
	close(out)
	if err := <-done; err != nil {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic that is no fault was swallowed")
			}
		}()
		u := instancetest.Open(t, cfg)
		_ = create(t, u, 1).With(func([]byte) error { panic("mine") })
	}()
}

func TestReadAtWriteAt(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g := create(t, s, 10)
	for _, c := range []struct {
		off  int64
		p    string
		n    int
		want error
	}{{0, "0123456789", 10, nil}, {8, "xyz", 2, io.ErrShortWrite}, {10, "a", 0, io.ErrShortWrite}, {1 << 40, "a", 0, io.ErrShortWrite}} {
		if n, err := g.WriteAt([]byte(c.p), c.off); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("WriteAt(%q, %d) = %d, %v", c.p, c.off, n, err)
		}
	}
	if _, err := g.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was read")
	}
	all, err := io.ReadAll(io.NewSectionReader(g, 0, 100))
	if err != nil || string(all) != "01234567xy" {
		t.Errorf("read %q, %v", all, err)
	}
	_ = g.Detach()
	_, err = g.ReadAt(make([]byte, 1), 0)
	wantErr(t, "ReadAt after Detach", err, dsm.ErrClosed)
	_, err = g.WriteAt(make([]byte, 1), 0)
	wantErr(t, "WriteAt after Detach", err, dsm.ErrClosed)
}

func TestHandleText(t *testing.T) {
	none := dsm.Handle(7)
	if text, err := dsm.Handle(0).MarshalText(); err != nil || len(text) != 0 || none.UnmarshalText(text) != nil || none != 0 {
		t.Errorf("no handle is %q, %v, and came back as %d", text, err, none)
	}
	for range 1000 {
		h := dsm.Handle(rand.Uint64())
		back, err := dsm.ParseHandle(h.String())
		if err != nil || back != h {
			t.Fatalf("%d became %d, %v", h, back, err)
		}
		if back, err = dsm.ParseHandle(strings.ToUpper(h.String())); err != nil || back != h {
			t.Fatalf("%d in capitals became %d, %v", h, back, err)
		}
		text, _ := h.MarshalText()
		var again dsm.Handle
		if err := again.UnmarshalText(text); err != nil || again != h {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "x", "0000000000000", "zzzzzzzzzzzzz", "000000000000i", "00000000000 1", strings.Repeat("1", 14)} {
		if h, err := dsm.ParseHandle(bad); err == nil {
			t.Errorf("%q is handle %d", bad, h)
		}
	}
}

// TestNoResidue: 10,000 create and detach cycles end where they began.
func TestNoResidue(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		cycle := func() {
			g := create(t, s, 4096)
			h := attach(t, s, g.Handle())
			_ = g.Detach()
			if err := h.Detach(); err != nil {
				t.Fatal(err)
			}
		}
		cycle()
		before := leaktest.Now()
		for range 10000 {
			cycle()
		}
		if after := leaktest.Now(); after != before {
			t.Errorf("went from %+v to %+v", before, after)
		}
		if n := instancetest.Objects(t, cfg.Dir); n != 0 {
			t.Errorf("%d objects are left", n)
		}
	})
}

// TestConcurrent has goroutines of two sessions create, attach, write, read, pin and detach the same few segments in all orders.
func TestConcurrent(t *testing.T) {
	for _, checked := range []string{"off", "on"} {
		t.Run("checked="+checked, func(t *testing.T) {
			cfg := instancetest.Config(t, catalog.Default(), "checked", checked)
			instancetest.Start(t, cfg)
			sessions := []*dsm.Session{instancetest.Open(t, cfg), instancetest.Open(t, cfg)}
			var handles [4]struct {
				sync.Mutex
				h dsm.Handle
			}
			var wg sync.WaitGroup
			for w := range 8 {
				s := sessions[w%2]
				wg.Go(func() {
					for range 300 {
						slot := &handles[rand.IntN(len(handles))]
						slot.Lock()
						h := slot.h
						slot.Unlock()
						g, err := s.Attach(ctx, s.Owner(), h)
						if errors.Is(err, dsm.ErrNotFound) {
							if g, err = s.Create(ctx, s.Owner(), 64); err == nil {
								copy(g.Bytes(), fmt.Sprintf("%d", g.Handle()))
								slot.Lock()
								slot.h = g.Handle()
								slot.Unlock()
							}
						}
						if err != nil {
							t.Error(err)
							return
						}
						err = g.With(func(b []byte) error {
							if want := fmt.Sprintf("%d", g.Handle()); !bytes.HasPrefix(b, []byte(want)) {
								return fmt.Errorf("bytes %q of segment %s", b, want)
							}
							return nil
						})
						if err == nil && rand.IntN(3) == 0 {
							if err = g.Pin(ctx); err == nil {
								if err = g.Unpin(ctx); errors.Is(err, dsm.ErrNotFound) {
									err = nil // another one's Unpin came first
								}
							}
						}
						if err = errors.Join(err, g.Detach()); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			list, err := sessions[0].Segments(ctx)
			if err != nil || len(list) != 0 {
				t.Errorf("left: %+v, %v", list, err)
			}
		})
	}
}

func TestCloseBesideCalls(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	for range 20 {
		s := instancetest.Open(t, cfg)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					g, err := s.Create(ctx, s.Owner(), 100)
					if errors.Is(err, dsm.ErrClosed) {
						return
					}
					if errors.Is(err, dsm.ErrTooManySegments) {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					g.OnDetach(func() {})
				}
			})
		}
		for n := 0; n < 5; {
			list, err := s.Segments(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n = len(list)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	if n := instancetest.Objects(t, cfg.Dir); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
