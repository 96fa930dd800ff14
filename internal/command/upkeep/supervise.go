package upkeep

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/stdin"
	"github.com/godsm/godsm/supervisor"
	"github.com/spf13/cobra"
)

func (a *app) superviseCommand() *cobra.Command {
	var private, lifeline bool
	cmd := &cobra.Command{
		Use:         "supervise",
		GroupID:     cli.Run,
		Short:       "Run an instance, in the foreground, until SIGINT or SIGTERM",
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
			return a.supervise(ctx, start)
		},
	}
	cmd.Flags().BoolVar(&private, "private", false, "in a directory made for it, which goes with it")
	cmd.Flags().BoolVar(&lifeline, "lifeline", false, "until standard input ends, too")
	for _, forTheDemo := range []string{"private", "lifeline"} {
		_ = cmd.Flags().MarkHidden(forTheDemo)
	}
	return cmd
}

func (a *app) supervise(ctx context.Context,
	start func(context.Context, supervisor.Config) (*supervisor.Supervisor, error)) error {
	s, err := start(ctx, a.Config)
	if err != nil {
		return err
	}
	st, err := s.Status(ctx)
	if err == nil {
		if err = a.printReady(st); err != nil {
			err = fmt.Errorf("the line that tells that the instance is ready can't be written: %s", err)
		}
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case <-s.Done():
		}
	}
	stopped := s.Stop()
	if err == nil && stopped == nil {
		err = a.printStopped(st)
	}
	return errors.Join(err, stopped)
}

// printStopped is the last line. That nobody reads it is no failure.
func (a *app) printStopped(st dsm.Status) (err error) {
	if a.JSON {
		err = a.PrintJSON(struct {
			Event    string `json:"event"`
			Instance string `json:"instance"`
			Dir      string `json:"dir"`
		}{"stopped", st.Instance.String(), st.Dir})
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
