package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

type counted struct {
	Hits  atomic.Int64
	Small uint8
}

type recounted struct { // the same size
	Hits   atomic.Int64
	Misses uint8
}

type page struct{ b [16 << 10]byte }

func TestNewAndAttachAs(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		v, g, err := dsm.New[counted](ctx, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v.Hits.Load() != 0 || v.Small != 0 {
			t.Errorf("a new T is %+v", v)
		}
		w, _, err := dsm.AttachAs[counted](ctx, other, nil, g.Handle())
		if err != nil {
			t.Fatal(err)
		}
		v.Hits.Store(7)
		if w.Hits.Load() != 7 {
			t.Error("a store is not seen by another session")
		}
		plain := create(t, s, 24)
		for what, err := range map[string]error{
			"another layout":      third(dsm.AttachAs[recounted](ctx, other, nil, g.Handle())),
			"another size":        third(dsm.AttachAs[page](ctx, other, nil, g.Handle())),
			"a segment of Create": third(dsm.AttachAs[counted](ctx, other, nil, plain.Handle())),
		} {
			wantErr(t, what, err, dsm.ErrMismatch)
		}
		_, _, err = dsm.New[[]byte](ctx, s, nil)
		if err == nil || !strings.Contains(err.Error(), "use an array") {
			t.Errorf("New of a slice: %v", err)
		}
		if err := third(dsm.AttachAs[string](ctx, s, nil, g.Handle())); err == nil {
			t.Error("AttachAs a string")
		}
		if e, is := info(t, s, plain.Handle()); !is || e.Refs != 1 {
			t.Errorf("a refused AttachAs has left a reference: %+v", e)
		}
		if _, set, err := dsm.New[struct{}](ctx, s, nil); err != nil || set.Detach() != nil {
			t.Errorf("New of nothing: %v", err)
		}
		if big, g, err := dsm.New[page](ctx, s, nil); err != nil || big.b[len(big.b)-1] != 0 || g.Detach() != nil {
			t.Errorf("New of many bytes: %v", err)
		}
		owner, _ := s.Owner().Child("narrow")
		late, _, err := dsm.New[counted](ctx, s, owner)
		if err != nil {
			t.Fatal(err)
		}
		_ = owner.Abort()
		late.Hits.Add(1) // reaches no process, and does not fault
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		v.Hits.Add(1)
		// Where Windows can't make the bytes private they stay mapped while they are in use.
		if got := w.Hits.Load(); got != 7 && runtime.GOOS != "windows" {
			t.Errorf("a store after Close is seen: %d", got)
		}
		wantErr(t, "New after Close", third(dsm.New[counted](ctx, s, nil)), dsm.ErrClosed)
		wantErr(t, "AttachAs after Close", third(dsm.AttachAs[counted](ctx, s, nil, g.Handle())), dsm.ErrClosed)
	})
}

func third[A, B any](_ A, _ B, err error) error { return err }

// TestNilOwnerIsTheSessions: what is created or attached under no owner ends with the session's.
func TestNilOwnerIsTheSessions(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g, err := s.Create(ctx, nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Attach(ctx, nil, g.Handle())
	if err != nil {
		t.Fatal(err)
	}
	owner, _ := s.Owner().Child("narrow")
	moved, err := s.Create(ctx, owner, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := moved.MoveTo(nil); err != nil {
		t.Fatal(err)
	}
	_ = owner.Abort()
	if moved.Bytes() == nil {
		t.Error("what was moved to no owner has ended with its old one")
	}
	_ = s.Owner().Abort()
	if g.Bytes() != nil || h.Bytes() != nil || moved.Bytes() != nil {
		t.Error("it outlives the session's owner")
	}
	wantErr(t, "MoveTo of the zero Segment", new(dsm.Segment).MoveTo(nil), dsm.ErrClosed)
}

// readers has one for each way in which a reader can disappoint.
func readers(s *dsm.Session, stop context.CancelFunc) map[string]struct {
	io.Reader
	want error
} {
	type reader = struct {
		io.Reader
		want error
	}
	half := bytes.NewReader(make([]byte, 500))
	return map[string]reader{
		"short":     {half, io.ErrUnexpectedEOF},
		"empty":     {strings.NewReader(""), io.ErrUnexpectedEOF},
		"failing":   {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(os.ErrDeadlineExceeded)), os.ErrDeadlineExceeded},
		"idle":      {readFunc(func([]byte) (int, error) { return 0, nil }), io.ErrNoProgress},
		"lying":     {readFunc(func(b []byte) (int, error) { return len(b) + 1, nil }), nil},
		"negative":  {readFunc(func(b []byte) (int, error) { return -1, nil }), nil},
		"panicking": {readFunc(func([]byte) (int, error) { panic("oops") }), errNoReturn},
		"exiting":   {readFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }), errNoReturn},
		"late":      {readFunc(func(b []byte) (int, error) { stop(); return 1, nil }), context.Canceled},
		"closing":   {readFunc(func(b []byte) (int, error) { _ = s.Close(); return len(b), nil }), dsm.ErrClosed},
	}
}

type readFunc func(b []byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

var errNoReturn = errors.New("the call has not returned")

func TestCreateFrom(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		text := bytes.Repeat([]byte("0123456789"), 300_000) // more than one piece
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for what, r := range map[string]io.Reader{
			"file": file, "bytes": bytes.NewReader(text), "with io.EOF at once": iotest.DataErrReader(bytes.NewReader(text)),
			"more than wanted": bytes.NewReader(append(text[:len(text):len(text)], "more"...)),
		} {
			g, err := s.CreateFrom(ctx, nil, r, len(text))
			if err != nil || !bytes.Equal(g.Bytes(), text) {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if err := g.Detach(); err != nil {
				t.Error(err)
			}
		}
		_, err = s.CreateFrom(ctx, nil, nil, 10)
		wantErr(t, "no reader", err)
		_, err = s.CreateFrom(ctx, nil, file, 0)
		wantErr(t, "no bytes", err, dsm.ErrSize)
	})
}

// TestCreateFromFailingReader: whatever a reader does, nothing is left of the segment.
func TestCreateFromFailingReader(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	watcher := instancetest.Open(t, cfg)
	for what := range readers(nil, nil) {
		t.Run(what, func(t *testing.T) {
			s := instancetest.Open(t, cfg)
			over, stop := context.WithCancel(ctx)
			defer stop()
			r := readers(s, stop)[what]
			outcome := make(chan error, 1)
			go func() {
				err := errNoReturn
				defer func() { _ = recover(); outcome <- err }()
				_, err = s.CreateFrom(over, nil, r, 1000)
			}()
			err := <-outcome
			if err == nil || r.want != nil && !errors.Is(err, r.want) {
				t.Errorf("CreateFrom = %v, want %v", err, r.want)
			}
			list, err := watcher.Segments(ctx)
			if err != nil || len(list) != 0 {
				t.Errorf("left: %+v, %v", list, err)
			}
		})
	}
}
