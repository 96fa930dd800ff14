// Package record has the command that records what happens in an instance into a file that trace viewers open.
//
// It looks from outside again and again (internal/survey), and writes what has changed between two looks: it takes no row and
// no lock, so it works on a full table and while a holder is stopped. It does not see what begins and ends between two looks
// but for what the instance itself counts, and its last events.
package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/settings"
	"github.com/spf13/cobra"
)

// app is what the commands of this package work with.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(a *cli.App) []*cobra.Command {
	here := &app{a}
	return []*cobra.Command{here.traceCommand()}
}

// flags are those of trace.
type flags struct {
	length   time.Duration
	interval time.Duration
	limit    string
}

func (a *app) traceCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:     "trace FILE|-",
		GroupID: cli.See,
		Short:   "Record sessions, segments, locks, caches, queues and events for a while, for a trace viewer",
		Long: `Record what happens in an instance for a while: when sessions were there and in which state, segments, who held which lock of a lock
table and who waited, the control lock, what was done in a second, caches, queues, and the events of the instance's life. The file
(-: standard output) is Chrome's trace-event format; https://ui.perfetto.dev opens it, and sends it nowhere.

It looks from outside again and again, each --interval but at most a tenth of the time, and writes what has changed. It takes no row and
no lock: it works on a full table and while a holder is stopped. What begins and ends between two looks is not in it, but for
events and for what the instance counts.

It ends after --for, at SIGINT or SIGTERM, when the file has --limit bytes, when the reader of the file has gone, or when the instance
has ended. The file is whole each time; of a recording that was killed it lacks the end, which viewers do without.`,
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{cli.NoCleaning: ""},
	}
	fl := cmd.Flags()
	fl.DurationVar(&f.length, "for", 10*time.Second, "how long to record; 0: until it is interrupted")
	fl.DurationVar(&f.interval, "interval", 100*time.Millisecond, "the time between two looks")
	fl.StringVar(&f.limit, "limit", "64MB", "end when the file has so many `bytes`, or kB, MB, GB")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		limit, err := settings.ParseBytes(f.limit)
		switch {
		case err != nil:
			return fmt.Errorf("%w: --limit %w", cli.ErrUsage, err)
		case f.length < 0 || f.interval < time.Millisecond || limit < minLimit:
			return fmt.Errorf("%w: --for %v, --interval %v, --limit %s: it takes at least 0, 1ms and %s", cli.ErrUsage, f.length, f.interval, f.limit,
				bytesize.Format(minLimit))
		}
		return a.trace(cmd.Context(), args[0], f, int64(limit))
	}
	return cmd
}

// minLimit is the least --limit: below it a recording would end before its first look.
const minLimit = 64 << 10

// trace records into the file of that name, and says on standard error how much, and why it ended.
func (a *app) trace(ctx context.Context, name string, f flags, limit int64) error {
	r := &recorder{config: a.Config, interval: f.interval, limit: limit}
	// The first look comes before the file: without an instance no file is made, and none is emptied.
	if err := r.look(ctx); err != nil {
		return cli.ErrIfUnsupervised(dsm.Status{}, err)
	}
	out, end, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	why, err := r.record(ctx, out, f.length)
	err = errors.Join(err, end())
	if errors.Is(err, syscall.EPIPE) {
		why, err = "the reader has gone", nil
	}
	if err != nil {
		return fmt.Errorf("trace: %s: %w", name, err)
	}
	return a.printResult(result{name, r.looks, r.lasted().Seconds(), r.out.events, r.out.written, why})
}

// result is what trace prints in the end.
type result struct {
	File    string  `json:"file"`
	Looks   int     `json:"looks"`
	Seconds float64 `json:"seconds"`
	Events  int     `json:"events"`
	Bytes   int64   `json:"bytes"`
	Ended   string  `json:"ended"` // why
}

// printResult says how much was recorded and why it ended: on standard error if the recording itself is on standard output.
func (a *app) printResult(x result) (err error) {
	text := fmt.Sprintf("%s: %d events of %d looks in %.1f s, %s; %s\n", x.File, x.Events, x.Looks, x.Seconds, bytesize.Format(uint64(x.Bytes)), x.Ended)
	switch {
	case x.File == "-":
		_, err = fmt.Fprint(a.Stderr, text)
	case a.JSON:
		err = a.PrintJSON(x)
	default:
		_, err = fmt.Fprint(a.Stdout, text)
	}
	return err
}

// open opens the file of that name for writing, and makes it empty. A pipe without a reader is waited for until ctx is over. End
// closes it.
func (a *app) open(ctx context.Context, name string) (w io.Writer, end func() error, err error) {
	if name == "-" {
		return a.Stdout, func() error { return nil }, nil
	}
	file, err := cli.Leaving(ctx, func() (*os.File, error) {
		return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // names and notes are the programs' own
	})
	if err != nil {
		return nil, nil, err
	}
	return cli.NewOutput(ctx, file), file.Close, nil
}
