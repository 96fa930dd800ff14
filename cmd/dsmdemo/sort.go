package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/supervisor"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func (a *app) sortCommand() *cobra.Command {
	var workers int
	var output string
	cmd := &cobra.Command{
		Use:         "sort [FILE...]",
		GroupID:     cli.Try,
		Annotations: map[string]string{cli.AllOrNothing: "yes"},
		Short:       "Sort lines with several processes that share memory; the output is that of LC_ALL=C sort",
		Long: `Sort the lines of all FILEs together (standard input if there is none, or for -) with several worker
processes. The text and an index of it lie in segments; the workers sort parts of the index in place and merge them, and
write the output where it belongs. It is byte for byte what LC_ALL=C sort prints.

It runs in the instance in --dir if one is up, else in a private one, and leaves nothing behind, also when it is killed:
then the next dsmdemo command removes what there was.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if workers < 0 {
				return fmt.Errorf("%w: --workers %d", cli.ErrUsage, workers)
			}
			return a.sort(cmd.Context(), workers, output, args)
		},
	}
	cmd.Flags().IntVar(&workers, "workers", runtime.NumCPU(), "how many processes sort; 0: this one alone")
	cmd.Flags().StringVarP(&output, "output", "o", "",
		"write to `FILE`, which may be one of the inputs, instead of standard output")
	return cmd
}

func (a *app) sort(ctx context.Context, workers int, output string, files []string) error {
	in, err := openInput(ctx, a.Stdin, files)
	if err != nil {
		return err
	}
	defer in.close()
	work := func(ctx context.Context, s *dsm.Session) error { return a.sortShared(ctx, s, workers, output, in) }
	s, err := dsm.Open(ctx, a.Config)
	switch {
	case err == nil:
		return errors.Join(work(ctx, s), s.Close())
	case errors.Is(err, dsm.ErrNoInstance):
		return supervisor.Run(ctx, a.Config, work)
	case errors.Is(err, dsm.ErrDisabled):
		fmt.Fprintln(a.Stderr,
			"dsmdemo: shared memory is disabled (dynamic_shared_memory_type = none): sorting in private memory")
		return a.sortPrivately(ctx, workers, output, in)
	}
	return err
}

// sortShared sorts in segments of s, by worker processes.
func (a *app) sortShared(ctx context.Context, s *dsm.Session, workers int, output string, in *input) error {
	owner, err := s.Owner().Child("sort")
	if err != nil {
		return err
	}
	defer owner.Abort()
	segment := func(size int) (*dsm.Segment, error) { return s.Create(ctx, owner, size) }
	text, err := in.place(segment)
	if err != nil {
		return err
	}
	if text == nil { // nothing to sort
		return a.write(ctx, output, nil)
	}
	plan, err := segment(sortPlanSize)
	if err != nil {
		return err
	}
	p, err := shm.At[sortPlan](plan.Region(), 0)
	if err != nil {
		return err
	}
	job := sortJob{Text: text.Handle(), Plan: plan.Handle(), Files: in.files}
	stop := a.showProgress(p, text.Size())
	defer stop()
	file, base, err := a.outputFile(output)
	if err != nil {
		return err
	}
	if file != nil { // workers write to it themselves
		defer file.Close()
		job.Output, job.Base = link(file), base
		if err := sortTask.Run(ctx, s, workers, job); err != nil {
			return err
		}
		return a.written(file, output, base+int64(text.Size()))
	}
	out, err := segment(text.Size())
	if err != nil {
		return err
	}
	job.Out = out.Handle()
	if err := sortTask.Run(ctx, s, workers, job); err != nil {
		return err
	}
	stop()
	return out.With(func(b []byte) error { return a.write(ctx, output, b) })
}

// showProgress shows on a terminal how far the work is, until the function it returns is called.
func (a *app) showProgress(p *sortPlan, size int) (stop func()) {
	if !cli.IsTerminal(a.Stderr) {
		return func() {}
	}
	bar := progressbar.NewOptions64(int64(3*size), progressbar.OptionSetWriter(a.Stderr),
		progressbar.OptionSetDescription("sorting"), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(40))
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-done:
				_ = bar.Finish()
				return
			case <-time.After(100 * time.Millisecond):
				_ = bar.Set64(p.Progress.Load())
			}
		}
	}()
	stopped := false
	return func() {
		if !stopped {
			stopped = true
			close(done)
			<-gone
		}
	}
}

// outputFile opens the output if workers can write to it all at once, each at its place: a regular
// file. Base is where the output begins in it. Nil means that it is written in one stream.
func (a *app) outputFile(output string) (f *os.File, base int64, err error) {
	if output != "" {
		if info, err := os.Stat(output); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			return nil, 0, nil // its reader must see it closed once only, at the end
		}
		// it may be an input: written when all is read, cut at the end
		f, err = os.OpenFile(output, os.O_WRONLY|os.O_CREATE, 0o666)
		if err != nil {
			return nil, 0, err
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, 0, nil
		}
		return nil, 0, f.Close()
	}
	out := a.File
	if out == nil {
		return nil, 0, nil
	}
	info, err := out.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, 0, nil
	}
	// Where the file's end is the place to write, it is so in every way that it may have been opened.
	if base, err = out.Seek(0, io.SeekCurrent); err != nil || base != info.Size() {
		return nil, 0, nil
	}
	f, err = os.OpenFile(link(out), os.O_WRONLY, 0)
	if err != nil {
		return nil, 0, nil
	}
	return f, base, nil
}

// written cuts off what a file held before behind the output, and leaves standard output behind
// what workers have written there.
func (a *app) written(file *os.File, output string, end int64) error {
	if output != "" {
		return file.Truncate(end)
	}
	_, err := a.File.Seek(end, io.SeekStart)
	return err
}

// write writes the whole output in one stream.
func (a *app) write(ctx context.Context, path string, b []byte) error {
	if path == "" {
		_, err := a.Stdout.Write(b)
		return err
	}
	f, err := cli.Leaving(ctx, func() (*os.File, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	})
	if err != nil {
		return err
	}
	_, err = cli.NewOutput(ctx, f).Write(b)
	return errors.Join(err, f.Close())
}
