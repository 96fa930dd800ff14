package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"structs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/cmd/dsmdemo/linesort"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// sortJob is what a sorting worker is handed. The output is a file or a segment.
type sortJob struct {
	Text, Plan dsm.Handle
	Files      []sortFile
	Output     string
	Base       int64
	Out        dsm.Handle
}

const (
	maxParts  = 64
	partSize  = 32 << 20 // a part's lines should be near the processor
	shareSize = 8 << 20
	pieceSize = 512 << 10
)

// sortPlan is what the workers of a job share besides text and index. Parts and shares are taken
// one by one, so a fast worker takes more.
type sortPlan struct {
	_        structs.HostLayout
	Progress atomic.Int64 // bytes read, sorted and written
	Read     atomic.Int64 // parts taken to be read
	Sorted   atomic.Int64 // parts taken to be sorted
	Written  atomic.Int64 // shares taken to be written
	Arrived  shmsync.EventCount
	_        uint32
	Parts    [maxParts]struct {
		Lines atomic.Int64
		Index atomic.Uint64 // handle of the segment with its sorted entries; 0 if it has no lines
	}
}

const sortPlanSize = 8192

// sorter is one worker's view of a job: over segments, or over private memory.
type sorter struct {
	text    []byte
	files   []sortFile
	plan    *sortPlan
	workers int
	index   func(part, lines int) ([]linesort.Entry, error) // makes the index of a part
	indexes func() ([][]linesort.Entry, error)              // all of them, sorted
	out     io.WriterAt
	base    int64
}

var sortTask = parallel.Register("sort", func(ctx context.Context, w *parallel.Worker, job sortJob) error {
	text, err := w.Session.Attach(ctx, w.Owner, job.Text)
	if err != nil {
		return err
	}
	plan, err := w.Session.Attach(ctx, w.Owner, job.Plan)
	if err != nil {
		return err
	}
	p, err := shm.At[sortPlan](plan.Region(), 0)
	if err != nil {
		return err
	}
	s := &sorter{files: job.Files, plan: p, workers: w.Count, base: job.Base}
	s.index = func(part, lines int) ([]linesort.Entry, error) { return makeIndex(ctx, w, p, part, lines) }
	s.indexes = func() ([][]linesort.Entry, error) { return attachIndexes(ctx, w, p) }
	if job.Output != "" {
		f, err := os.OpenFile(job.Output, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		s.out = f
	} else if s.out, err = w.Session.Attach(ctx, w.Owner, job.Out); err != nil {
		return err
	}
	return text.With(func(b []byte) error {
		s.text = b
		return s.run(ctx)
	})
})

func makeIndex(ctx context.Context, w *parallel.Worker, p *sortPlan, part, lines int) ([]linesort.Entry, error) {
	g, err := w.Session.Create(ctx, w.Owner, lines*linesort.EntrySize)
	if err != nil {
		return nil, err
	}
	p.Parts[part].Index.Store(uint64(g.Handle()))
	return shm.SliceOf[linesort.Entry](g.Region(), 0, lines)
}

func attachIndexes(ctx context.Context, w *parallel.Worker, p *sortPlan) (parts [][]linesort.Entry, err error) {
	for i := range p.Parts {
		h, lines := dsm.Handle(p.Parts[i].Index.Load()), int(p.Parts[i].Lines.Load())
		if h == 0 {
			continue
		}
		g, err := w.Session.Attach(ctx, w.Owner, h)
		if err != nil {
			return nil, err
		}
		part, err := shm.SliceOf[linesort.Entry](g.Region(), 0, lines)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// run does a worker's part of the sort: it reads and counts, sorts, merges and writes, and waits for all workers between
// these steps.
func (s *sorter) run(ctx context.Context) error {
	if err := s.each(ctx, &s.plan.Read, s.read); err != nil {
		return err
	}
	if err := s.meet(ctx, 1); err != nil {
		return err
	}
	if err := s.each(ctx, &s.plan.Sorted, s.sort); err != nil {
		return err
	}
	if err := s.meet(ctx, 2); err != nil {
		return err
	}
	return s.write(ctx)
}

// parts returns into how many pieces the text is cut: one for each partSize bytes, and one more for each other worker.
func (s *sorter) parts() int { return min(maxParts, (len(s.text)+partSize-1)/partSize+s.workers-1) }

// bounds returns where a part of the text begins and ends, in bytes.
func (s *sorter) bounds(part int) (from, to int) {
	n := s.parts()
	return int(int64(len(s.text)) * int64(part) / int64(n)), int(int64(len(s.text)) * int64(part+1) / int64(n))
}

// each takes parts, until there are none, and does f with them.
func (s *sorter) each(ctx context.Context, taken *atomic.Int64, f func(ctx context.Context, part int) error) error {
	for {
		part := int(taken.Add(1)) - 1
		if part >= s.parts() {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f(ctx, part); err != nil {
			return err
		}
		from, to := s.bounds(part)
		s.plan.Progress.Add(int64(to - from))
	}
}

// meet waits until all workers have come so far for the n-th time. When one has failed or died, ctx ends.
func (s *sorter) meet(ctx context.Context, n int) error {
	s.plan.Arrived.Advance()
	for {
		arrived := s.plan.Arrived.Load()
		if int(arrived) >= n*s.workers {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.plan.Arrived.Await(ctx, arrived, 20*time.Millisecond)
	}
}

func (s *sorter) read(ctx context.Context, part int) error {
	from, to := s.bounds(part)
	if err := readRange(ctx, s.files, s.text, from, to); err != nil {
		return err
	}
	s.plan.Parts[part].Lines.Store(int64(linesort.Count(s.text[from:to])))
	return nil
}

func (s *sorter) sort(_ context.Context, part int) error {
	lines := int(s.plan.Parts[part].Lines.Load())
	if lines == 0 {
		return nil
	}
	index, err := s.index(part, lines)
	if err != nil {
		return err
	}
	from, to := s.bounds(part)
	if err := linesort.Fill(index, s.text, from, to); err != nil {
		return err
	}
	linesort.Sort(s.text, index)
	return nil
}

func (s *sorter) write(ctx context.Context) error {
	parts, err := s.indexes()
	if err != nil {
		return err
	}
	if err := s.meet(ctx, 3); err != nil { // a worker that is done takes what it alone holds with it
		return err
	}
	buffer := make([]byte, pieceSize)
	for {
		at := (s.plan.Written.Add(1) - 1) * shareSize
		if at >= int64(len(s.text)) {
			return nil
		}
		from, to := linesort.Cut(s.text, parts, at), linesort.Cut(s.text, parts, at+shareSize)
		m, err := linesort.Merge(s.text, parts, from, to)
		if err != nil {
			return err
		}
		at = linesort.Size(parts, from)
		for {
			n, err := m.Read(buffer)
			if n > 0 {
				if _, werr := s.out.WriteAt(buffer[:n], s.base+at); werr != nil {
					return werr
				}
				at += int64(n)
				s.plan.Progress.Add(int64(n))
			}
			if err == io.EOF {
				break
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
		}
	}
}

// sortPrivately sorts without shared memory, by goroutines of this process.
func (a *app) sortPrivately(ctx context.Context, workers int, output string, in *input) error {
	text, err := in.whole(ctx)
	if err != nil {
		return err
	}
	out := make(memory, len(text))
	plan := &sortPlan{}
	workers = max(1, workers)
	var mu sync.Mutex
	index := map[int][]linesort.Entry{}
	s := &sorter{text: text, plan: plan, workers: workers, out: out}
	s.index = func(part, lines int) ([]linesort.Entry, error) {
		entries := make([]linesort.Entry, lines)
		mu.Lock()
		defer mu.Unlock()
		index[part] = entries
		return entries, nil
	}
	s.indexes = func() (parts [][]linesort.Entry, err error) {
		for part := range s.parts() {
			if entries := index[part]; entries != nil {
				parts = append(parts, entries)
			}
		}
		return parts, nil
	}
	stop := a.showProgress(plan, len(text))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			if err := s.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	stop()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return a.write(ctx, output, out)
}

// memory is an io.WriterAt over bytes.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m)) || len(p) > len(m)-int(off) {
		return 0, fmt.Errorf("%d bytes at %d are outside of %d", len(p), off, len(m))
	}
	return copy(m[off:], p), nil
}
