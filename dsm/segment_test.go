package dsm_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/leaktest"
)

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
	}{
		{0, "0123456789", 10, nil},
		{8, "xyz", 2, io.ErrShortWrite},
		{10, "a", 0, io.ErrShortWrite},
		{1 << 40, "a", 0, io.ErrShortWrite},
	} {
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
	if text, err := dsm.Handle(0).MarshalText(); err != nil || len(text) != 0 ||
		none.UnmarshalText(text) != nil || none != 0 {
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
	for _, bad := range []string{"", "x", "0000000000000", "zzzzzzzzzzzzz",
		"000000000000i", "00000000000 1", strings.Repeat("1", 14)} {
		if h, err := dsm.ParseHandle(bad); err == nil {
			t.Errorf("%q is handle %d", bad, h)
		}
	}
}

// A segment can be found by its row before Create has returned. Another goroutine of the session that attaches it then
// shares the reference: its Detach must not give it back under the creator's hands.
func TestAttachDuringCreate(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	stop := make(chan struct{})
	var chasers sync.WaitGroup
	for range 2 {
		chasers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				list, _ := s.Segments(t.Context())
				for _, i := range list {
					if g, err := s.Attach(t.Context(), s.Owner(), i.Handle); err == nil {
						g.Detach()
					}
				}
			}
		})
	}
	for n := range 100 {
		g := create(t, s, 100)
		for range 3 {
			again, err := other.Attach(t.Context(), other.Owner(), g.Handle())
			if err != nil {
				t.Errorf("segment %d, which is attached in its creator: %v", n, err)
				break
			}
			again.Detach()
			runtime.Gosched()
		}
		g.Detach()
	}
	close(stop)
	chasers.Wait()
}
