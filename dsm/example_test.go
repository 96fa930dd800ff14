package dsm_test

import (
	"context"
	"fmt"
	"log"
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
