package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/spf13/cobra"
)

// countJob names the text to count in and where the counts go: one lineCount for each worker.
type countJob struct {
	Text, Counts dsm.Handle
}

type lineCount struct {
	Lines, Bytes, Pid atomic.Int64
}

// countTask counts the lines of one worker's share of a text.
var countTask = parallel.Register("demo count", func(_ context.Context, w *parallel.Worker, job countJob) error {
	text, err := w.Session.Attach(context.Background(), w.Owner, job.Text)
	if err != nil {
		return err
	}
	counts, err := w.Session.Attach(context.Background(), w.Owner, job.Counts)
	if err != nil {
		return err
	}
	mine, err := shm.SliceOf[lineCount](counts.Region(), 0, w.Count)
	if err != nil {
		return err
	}
	return text.With(func(b []byte) error {
		b = b[len(b)*w.Index/w.Count : len(b)*(w.Index+1)/w.Count]
		c := &mine[w.Index]
		c.Pid.Store(int64(os.Getpid()))
		c.Bytes.Store(int64(len(b)))
		c.Lines.Store(int64(bytes.Count(b, []byte{'\n'})))
		return nil
	})
})

const demoWorkers = 4

func (t *tour) shareWork(ctx context.Context) error {
	t.step("Several worker processes work on one segment. They are given its handle; the text is never copied.")
	owner, err := t.session.Owner().Child("count")
	if err != nil {
		return err
	}
	defer owner.Abort()
	text, what, err := t.load(ctx)
	if err != nil {
		return err
	}
	if err := text.MoveTo(owner); err != nil {
		return err
	}
	counts, err := t.session.Create(ctx, owner, demoWorkers*24)
	if err != nil {
		return err
	}
	t.say("%s of %s are in segment %s", bytesize.Format(uint64(text.Size())), what, text.Handle())
	begin := time.Now()
	if err := countTask.Run(ctx, t.session, demoWorkers, countJob{text.Handle(), counts.Handle()}); err != nil {
		return err
	}
	took := time.Since(begin)
	results, err := shm.SliceOf[lineCount](counts.Region(), 0, demoWorkers)
	if err != nil {
		return err
	}
	total := int64(0)
	for i := range results {
		r := &results[i]
		t.say("process %d counted %d lines in %s", r.Pid.Load(), r.Lines.Load(),
			bytesize.Format(uint64(r.Bytes.Load())))
		total += r.Lines.Load()
	}
	alone := int64(bytes.Count(text.Bytes(), []byte{'\n'}))
	t.say("together %d lines, in %v from start to end; counted here alone: %d",
		total, took.Round(time.Millisecond), alone)
	if total != alone {
		return errors.New("the counts differ")
	}
	return nil
}

// load puts the input into a segment: as much of it as the system has room for.
func (t *tour) load(ctx context.Context) (*dsm.Segment, string, error) {
	paths, what := t.files, fmt.Sprintf("%d files", len(t.files))
	if len(paths) == 0 {
		paths, what = goSources(), "the Go distribution's source files"
	}
	size := int64(0)
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			size += info.Size()
		} else if len(t.files) > 0 {
			return nil, "", err
		}
	}
	if size == 0 {
		return nil, "", errors.New("there is nothing to read in the files")
	}
	for size = min(size, 256<<20); ; size /= 2 {
		g, err := t.session.Create(ctx, t.session.Owner(), int(size))
		if errors.Is(err, dsm.ErrNoSpace) && size > 1<<16 {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		return g, what, fill(g.Bytes(), paths)
	}
}

// fill reads files into b until it is full.
func fill(b []byte, paths []string) error {
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(f, b)
		f.Close()
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
	}
	return nil
}

// goSources lists the files; without a Go distribution it is this program itself.
func goSources() (paths []string) {
	if out, err := exec.Command("go", "env", "GOROOT").Output(); err == nil {
		root := strings.TrimSpace(string(out))
		_ = filepath.WalkDir(filepath.Join(root, "src"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				paths = append(paths, path)
			}
			return nil
		})
	}
	if len(paths) == 0 {
		if exe, err := os.Executable(); err == nil {
			paths = []string{exe}
		}
	}
	return paths
}

// holdCommand returns the demo's victim: it holds segments of its own and one of the demo's, until its input ends.
func (a *app) holdCommand() *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use:    "hold HANDLE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := cli.ParseHandle(args[0])
			if err != nil {
				return err
			}
			s, err := dsm.Open(cmd.Context(), a.Config)
			if err != nil {
				return err
			}
			defer s.Close()
			for range n {
				if _, err := s.Create(cmd.Context(), s.Owner(), 4096); err != nil {
					return err
				}
			}
			if _, err := s.Attach(cmd.Context(), s.Owner(), h); err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout, "holding")
			_, _ = io.Copy(io.Discard, a.Stdin)
			return s.Close()
		},
	}
	cmd.Flags().IntVarP(&n, "segments", "n", 100, "how many of its own")
	return cmd
}

func (t *tour) killHolder(ctx context.Context) error {
	const own = 100
	t.step("kill -9 of a process that holds references. Exactly what it held is given back; the other processes go on.")
	g, err := t.session.Create(ctx, t.session.Owner(), 4096)
	if err != nil {
		return err
	}
	defer g.Detach()
	victim, err := t.start("hold", "--dir", t.dir, "-n", fmt.Sprint(own), g.Handle().String())
	if err != nil {
		return err
	}
	defer victim.kill()
	if _, err := victim.line(); err != nil {
		return err
	}
	st, err := t.session.Status(ctx)
	if err != nil {
		return err
	}
	t.say("process %d holds %d segments of its own and segment %s of this process: %d sessions, %d segments",
		victim.Pid(), own, g.Handle(), st.Sessions, st.Segments)
	victim.kill()
	begin := time.Now()
	references, err := t.until(ctx, begin, func(r dsm.Report) bool { return len(r.Sessions) == 1 })
	if err != nil {
		return err
	}
	objects, err := t.until(ctx, begin, func(r dsm.Report) bool { return len(r.Segments) == 1 })
	if err != nil {
		return err
	}
	t.say("killed. Its references and its row were back %v after it was seen dead, its %d objects gone after %v",
		references, own, objects)
	t.say("segment %s is still here: %d reference", g.Handle(), 1)
	return nil
}

// until looks at the instance until it is so, and says when that was.
func (t *tour) until(ctx context.Context, begin time.Time, so func(dsm.Report) bool) (time.Duration, error) {
	cfg := t.Config
	cfg.Dir = t.dir
	for {
		r, err := dsm.Inspect(ctx, cfg)
		took := time.Since(begin)
		if err != nil || so(r) {
			return took.Round(10 * time.Microsecond), err
		}
		if took > 10*time.Second {
			return took, errors.New("the books do not show what was waited for, after 10 s")
		}
	}
}
