package dsm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/supervisor"
)

// totals lie in a segment that all processes have mapped.
type totals struct {
	Words, Bytes atomic.Int64
}

// job is what a worker is handed: two handles.
type job struct{ Text, Totals dsm.Handle }

// countWords runs in each worker process, on its share of the text.
var countWords = parallel.Register("count words", func(ctx context.Context, w *parallel.Worker, j job) error {
	text, err := w.Session.Attach(ctx, w.Owner, j.Text)
	if err != nil {
		return err
	}
	sums, err := w.Session.Attach(ctx, w.Owner, j.Totals)
	if err != nil {
		return err
	}
	t, err := shm.At[totals](sums.Region(), 0)
	if err != nil {
		return err
	}
	b := text.Bytes()
	from, to := len(b)*w.Index/w.Count, len(b)*(w.Index+1)/w.Count
	for i := from; i < to; i++ {
		if b[i] != ' ' && (i == 0 || b[i-1] == ' ') {
			t.Words.Add(1)
		}
	}
	t.Bytes.Add(int64(to - from))
	return nil
})

// A leader puts a text into a segment and has four worker processes count its words. They share the segment: what
// travels is its handle. Begin main, or TestMain, with parallel.Main().
func Example() {
	ctx := context.Background()
	err := supervisor.Run(ctx, dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		const content = "shared by several processes and copied by none of them"
		text, err := s.Create(ctx, s.Owner(), len(content))
		if err != nil {
			return err
		}
		copy(text.Bytes(), content)
		sums, err := s.Create(ctx, s.Owner(), 16)
		if err != nil {
			return err
		}
		if err := countWords.Run(ctx, s, 4, job{text.Handle(), sums.Handle()}); err != nil {
			return err
		}
		t, err := shm.At[totals](sums.Region(), 0)
		if err != nil {
			return err
		}
		fmt.Println(t.Words.Load(), "words in", t.Bytes.Load(), "bytes")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 10 words in 54 bytes
}

// A segment of one value: another process attaches it by its handle, and finds out if it expects something else there.
func ExampleNew() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		t, seg, err := dsm.New[totals](ctx, s, nil)
		if err != nil {
			return err
		}
		t.Words.Add(3)
		handle := seg.Handle().String() // travels by any means

		other, err := dsm.Open(ctx, s.Config()) // another process
		if err != nil {
			return err
		}
		defer other.Close()
		h, err := dsm.ParseHandle(handle)
		if err != nil {
			return err
		}
		theirs, _, err := dsm.AttachAs[totals](ctx, other, nil, h)
		if err != nil {
			return err
		}
		_, _, err = dsm.AttachAs[[2]int32](ctx, other, nil, h)
		fmt.Println(theirs.Words.Load(), errors.Is(err, dsm.ErrMismatch))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 3 true
}

// A segment is filled from a file, or any reader of which the size is known.
func ExampleSession_CreateFrom() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		const content = "read once, shared by all"
		seg, err := s.CreateFrom(ctx, nil, strings.NewReader(content), len(content))
		if err != nil {
			return err
		}
		fmt.Println(string(seg.Bytes()))
		_, err = s.CreateFrom(ctx, nil, strings.NewReader("short"), 100)
		fmt.Println(errors.Is(err, io.ErrUnexpectedEOF))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// read once, shared by all
	// true
}

// A program looks at an instance from outside, without joining it.
func ExampleInspect() {
	err := supervisor.Run(context.Background(), dsm.Config{Application: "worker"}, func(ctx context.Context, s *dsm.Session) error {
		if _, err := s.Create(ctx, nil, 1000); err != nil {
			return err
		}
		r, err := dsm.Inspect(ctx, dsm.Config{Dir: s.Config().Dir})
		if err != nil {
			return err
		}
		for _, p := range r.Sessions {
			fmt.Println(p.Application, "is", p.State, "and holds", p.Segments, "segment")
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: worker is running and holds 1 segment
}
