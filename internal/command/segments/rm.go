package segments

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/registry"
	"github.com/spf13/cobra"
)

// inSession calls f in a session of its own.
func (a *app) inSession(ctx context.Context, f func(ctx context.Context, s *dsm.Session) error) error {
	s, err := dsm.Open(ctx, a.Config)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, s), s.Close())
}

// removed is what rm has done with one argument.
type removed struct {
	What    string      `json:"what"`
	Handle  dsm.Handle  `json:"handle"`
	Holders []holderRow `json:"holders"` // sessions that have it attached still: its memory comes back with the last
}

type holderRow struct {
	Session string `json:"session"`
	Pid     int    `json:"pid"`
	App     string `json:"app"`
}

const rmName = "rm"

func (a *app) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use:     rmName + " HANDLE|NAME...",
		GroupID: cli.Hold,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return a.Targets(cmd), cobra.ShellCompDirectiveNoFileComp
		},
		Short: "Take names away, and pinned segments out of the instance's keeping",
		Long: `Take each name away: who asks for it next gets something new. Take each segment without a name out of the instance's
keeping, as unpin does. Sessions that have it attached keep what they have, and its memory comes back when the last of them lets it
go: they are printed. A segment that is neither named nor pinned is its sessions' alone, and can't be removed.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, wrong := []removed{}, error(nil)
			err := a.inSession(cmd.Context(), func(ctx context.Context, s *dsm.Session) error {
				for _, arg := range args {
					r, err := a.remove(ctx, s, arg)
					if err != nil {
						wrong = errors.Join(wrong, fmt.Errorf("%s: %w", arg, err))
						continue
					}
					list = append(list, r)
				}
				return nil
			})
			return errors.Join(a.printRemoved(list), wrong, err)
		},
	}
}

// findToRemove finds what an argument names. A handle of a segment that belongs to a name is an error: what has the name would be
// destroyed by it, and its name stay.
func (a *app) findToRemove(ctx context.Context, arg string) (t target, err error) {
	s, err := survey.Brief(ctx, a.Config)
	if err == nil {
		err = s.Err
	}
	if err == nil {
		t, err = find(s.Report, s.Names, arg)
	}
	if err != nil {
		return t, err
	}
	owner := t.name
	if owner.Name == "" {
		owner = s.Parts[t.Handle]
	}
	if owner.Name != "" && owner.Name != arg {
		return t, fmt.Errorf("the segment belongs to the name %q (%s): rm %s removes all of that", owner.Name, owner.Kind, owner.Name)
	}
	return t, nil
}

// remove takes away what one argument names.
func (a *app) remove(ctx context.Context, s *dsm.Session, arg string) (r removed, err error) {
	t, err := a.findToRemove(ctx, arg)
	if err != nil {
		return r, err
	}
	r = removed{What: "segment " + t.Handle.String(), Handle: t.Handle, Holders: []holderRow{}}
	for _, h := range t.Holders {
		r.Holders = append(r.Holders, holderRow{h.Name, h.Pid, h.Application})
	}
	switch {
	case t.name.Name != "" && t.name.Name == arg:
		r.What = t.name.Kind + " " + t.name.Name
		return r, registry.Delete(ctx, s, arg)
	case t.Root:
		return r, errors.New("the segment is the table of names, which all sessions share: it goes with the instance")
	case t.Pinned:
		return r, s.Unpin(ctx, t.Handle)
	}
	return r, fmt.Errorf("the segment is not pinned: it goes with the last of its %d sessions (ps lists them)", len(t.Holders))
}

func (a *app) printRemoved(list []removed) error {
	if a.JSON {
		return a.PrintJSON(list)
	}
	for _, r := range list {
		text := fmt.Sprintf("removed: %s", r.What)
		if len(r.Holders) > 0 {
			text += "; its memory comes back when these let it go:"
			for _, h := range r.Holders {
				text += fmt.Sprintf(" process %d (%s)", h.Pid, h.App)
			}
		}
		if _, err := fmt.Fprintln(a.Stdout, cli.Printable(text)); err != nil {
			return err
		}
	}
	return nil
}
