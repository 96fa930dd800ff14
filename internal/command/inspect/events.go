package inspect

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

// EventRow is a line of events.
type EventRow struct {
	Time       time.Time `json:"time"`
	Generation uint64    `json:"generation"`
	Kind       string    `json:"kind"`
	Session    string    `json:"session,omitempty"`
	Pid        int       `json:"pid,omitempty"`
	App        string    `json:"app,omitempty"`
	By         string    `json:"by,omitempty"`
	Count      uint64    `json:"count,omitempty"`
	Bytes      uint64    `json:"bytes,omitempty"`
	Text       string    `json:"text"`
}

// EventColumns are those of events.
var EventColumns = []cli.Column[EventRow]{
	{Name: "time", Heading: "TIME", Text: func(r EventRow) string { return r.Time.Local().Format("2006-01-02 15:04:05.000") }, Whole: true},
	cli.Count("generation", "GENERATION", func(r EventRow) uint64 { return r.Generation }),
	{Name: "event", Heading: "EVENT", Text: func(r EventRow) string { return r.Text }, Tint: func(r EventRow) cli.Tint {
		switch {
		case r.Kind == "died":
			return cli.Bad
		case strings.HasPrefix(r.Kind, "refused"):
			return cli.Odd
		}
		return cli.Plain
	}},
	{Name: "kind", Heading: "KIND", Text: func(r EventRow) string { return r.Kind }, Extra: true},
	{Name: "session", Heading: "SESSION", Text: func(r EventRow) string { return r.Session }, Extra: true},
	cli.Count("pid", "PID", func(r EventRow) int { return r.Pid }).OnRequest(),
	{Name: "application", Heading: "APPLICATION", Text: func(r EventRow) string { return r.App }, Extra: true},
	{Name: "by", Heading: "BY", Text: func(r EventRow) string { return r.By }, Extra: true},
	cli.Count("count", "COUNT", func(r EventRow) uint64 { return r.Count }).OnRequest(),
	cli.Count("bytes", "BYTES", func(r EventRow) uint64 { return r.Bytes }).OnRequest(),
}

// EventRowOf returns the line of an event.
func EventRowOf(e dsm.Event) EventRow {
	return EventRow{e.Time, e.Generation, e.Kind, e.Session, e.Pid, e.Application, e.By, e.Count, e.Bytes, e.String()}
}

func (a *app) eventsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:     "events",
		GroupID: cli.See,
		Short:   "Show the last events of an instance's life: who joined, left and died, what was reclaimed and refused",
		Long: `Show the last events of an instance's life, oldest first: generations that began and ended; sessions that joined, left and died,
with what was given back for them; what was refused, and why. It takes no lock, and works when all processes of the instance are dead.

With --follow it goes on with the next ones until it is interrupted. With --json each event is an object on a line of its own.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{cli.NoCleaning: ""},
	}
	list := cli.NewListing(cmd, EventColumns...)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the events that come")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		rows := []EventRow{}
		for e, err := range dsm.Events(cmd.Context(), a.Config, follow) {
			switch {
			case err != nil && cmd.Context().Err() != nil:
				return nil // interrupted, as is meant
			case errors.Is(err, dsm.ErrNoInstance):
				return fmt.Errorf("%w: %w", cli.ErrUnsupervised, err)
			case err != nil:
				return err
			}
			row := EventRowOf(e)
			if follow || a.JSON {
				if err := list.Each(a.App, row); err != nil {
					return err
				}
				continue
			}
			rows = append(rows, row)
		}
		if follow || a.JSON {
			return nil
		}
		return list.Show(a.App, rows)
	}
	return cmd
}
