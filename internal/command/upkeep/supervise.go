package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/stdin"
	"github.com/godsm/godsm/internal/sys/sdnotify"
	"github.com/godsm/godsm/supervisor"
	"github.com/spf13/cobra"
)

func (a *app) superviseCommand() *cobra.Command {
	var private, lifeline, leave bool
	var p pages
	cmd := &cobra.Command{
		Use:     "supervise",
		GroupID: cli.Run,
		Short:   "Run an instance, in the foreground, until SIGINT, SIGTERM or SIGHUP",
		Long: `Run an instance, in the foreground, until SIGINT, SIGTERM or SIGHUP.

Then all of it is removed or, with --leave, handed over to the next supervisor: sessions go on, and what is pinned stays
in memory until that adopts it. So a new version takes over without losing memory.

A service manager (systemd, Type=notify) is told when sessions can join, how many there are, and, if it has a watchdog, that
the watcher answers.

With --metrics it serves what an operator watches, read-only, on the loopback address unless a host is given.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{cli.NoCleaning: ""}, // a start does that
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := supervisor.Start
			if private {
				start = supervisor.StartPrivate
			}
			ctx := cmd.Context()
			if lifeline {
				var end context.CancelFunc
				ctx, end = context.WithCancel(ctx)
				go func() { stdin.WaitEnd(a.Stdin); end() }()
			}
			return a.supervise(ctx, start, leave, p)
		},
	}
	cmd.Flags().BoolVar(&leave, "leave", false, "hand the instance over to the next supervisor in the end, and keep its memory")
	p.addTo(cmd)
	cmd.Flags().BoolVar(&private, "private", false, "in a directory made for it, which goes with it")
	cmd.Flags().BoolVar(&lifeline, "lifeline", false, "until standard input ends, too")
	for _, forTheDemo := range []string{"private", "lifeline"} {
		_ = cmd.Flags().MarkHidden(forTheDemo)
	}
	return cmd
}

func (a *app) supervise(ctx context.Context,
	start func(context.Context, supervisor.Config) (*supervisor.Supervisor, error), leave bool, p pages) error {
	manager, err := sdnotify.FromEnvironment()
	if err != nil {
		return err
	}
	l, err := p.listen(ctx)
	if err != nil {
		return err
	}
	s, err := start(ctx, a.Config)
	if err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return err
	}
	st, err := s.Status(ctx)
	stopPages := a.serve(l, st.Dir, p)
	defer stopPages()
	if err == nil {
		if err = a.printReady(st); err != nil {
			err = fmt.Errorf("the line that tells that the instance is ready can't be written: %s", err)
		}
	}
	if err == nil {
		quiet := manager.Serve(sdnotify.Service{Look: s.Check, Status: func(ctx context.Context) string {
			return statusLine(s.Status(ctx))
		}})
		select {
		case <-ctx.Done():
		case <-s.Done():
		}
		quiet()
	}
	event, end, within := "stopped", s.Stop, stopMargin
	if leave {
		event, end = "left", s.Leave
	} else if timeout, perr := time.ParseDuration(a.Config.Settings["shutdown_timeout"]); perr == nil {
		within += timeout
	}
	_ = manager.Stopping(event, within) // who does not hear it ends the process by its own clock
	ended := end()
	if err == nil && ended == nil {
		err = a.printEnded(st, event)
	}
	return errors.Join(err, ended)
}

// stopMargin is how long a stop may take besides shutdown_timeout, whose default it includes.
const stopMargin = 15 * time.Second

// statusLine returns what a service manager shows of the instance.
func statusLine(st dsm.Status, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d sessions, %d segments of %s, generation %d", st.Sessions, st.Segments, bytesize.Format(st.Bytes),
		st.Generation)
}

// printEnded prints the last line. A reader that has gone is no failure.
func (a *app) printEnded(st dsm.Status, event string) (err error) {
	if a.JSON {
		err = a.PrintJSON(struct {
			Event    string `json:"event"`
			Instance string `json:"instance"`
			Dir      string `json:"dir"`
		}{event, st.Instance.String(), st.Dir})
	} else if event == "left" {
		_, err = fmt.Fprintf(a.Stdout, "left: instance %s, directory %s; the next supervisor adopts it\n", st.Instance, st.Dir)
	} else {
		_, err = fmt.Fprintf(a.Stdout, "stopped: instance %s, directory %s; nothing of it is left in the system\n",
			st.Instance, st.Dir)
	}
	if a.ReaderGone() {
		return nil
	}
	return err
}

func (a *app) printReady(st dsm.Status) error {
	if a.JSON {
		return a.PrintJSON(struct {
			Event      string `json:"event"`
			Instance   string `json:"instance"`
			Generation uint64 `json:"generation"`
			Backend    string `json:"backend"`
			Dir        string `json:"dir"`
			Pid        int    `json:"pid"`
		}{"ready", st.Instance.String(), st.Generation, st.Backend, st.Dir, st.Supervisor})
	}
	_, err := fmt.Fprintf(a.Stdout, "ready: instance %s, generation %d, backend %s, directory %s, process %d\n",
		st.Instance, st.Generation, st.Backend, st.Dir, st.Supervisor)
	return err
}
