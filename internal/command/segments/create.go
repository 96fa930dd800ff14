package segments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/stdin"
	"github.com/godsm/godsm/internal/settings"
	"github.com/spf13/cobra"
)

func (a *app) createCommand() *cobra.Command {
	var pin bool
	var sizeText string
	cmd := &cobra.Command{
		Use:     "create [TEXT|-]",
		GroupID: cli.Hold,
		Short:   "Make a segment that holds TEXT, or standard input, and print its handle",
		Long: `Make a segment that holds exactly TEXT, or standard input if TEXT is - or missing, and print its handle.
With --size and no TEXT it holds zeros, and standard input is not its content.

Without --pin the segment lives as long as this command, which ends when its standard input is closed or by a signal;
where standard input was read as the content, or was at its end from the start, only by a signal. With --pin the
command ends at once and the segment stays, until unpin or the end of the instance.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, fromStdin, err := a.Content(cmd.Context(), args, cmd.Flags().Changed("size"))
			if err != nil {
				return err
			}
			size := len(content)
			if sizeText != "" {
				n, err := settings.ParseBytes(sizeText)
				if err != nil || n > math.MaxInt {
					return fmt.Errorf("%w: --size %w", cli.ErrUsage, cmp.Or(err, fmt.Errorf("%s is too large", sizeText)))
				}
				size = int(n)
			}
			if size < len(content) {
				return fmt.Errorf("%w: --size %d is less than the text's %d bytes", cli.ErrUsage, size, len(content))
			}
			return a.create(cmd.Context(), content, size, pin, fromStdin)
		},
	}
	cmd.Flags().BoolVar(&pin, "pin", false, "leave the segment in the instance's keeping, and end")
	cmd.Flags().StringVar(&sizeText, "size", "",
		"the segment's size in `bytes`, or with kB, MB, GB, if larger than the text (filled with zeros)")
	return cmd
}

func (a *app) create(ctx context.Context, content []byte, size int, pin, fromStdin bool) error {
	s, err := dsm.Open(ctx, a.Config)
	if err != nil {
		return err
	}
	defer s.Close()
	g, err := s.Create(ctx, s.Owner(), size)
	if err != nil {
		return err
	}
	copy(g.Bytes(), content)
	if pin {
		if err := g.Pin(ctx); err != nil {
			return err
		}
	}
	if err := a.printHandle(ctx, s, g); err != nil {
		return err
	}
	if pin {
		return s.Close()
	}
	ended := make(chan struct{})
	if !fromStdin && !stdin.AtEnd(a.Stdin) {
		go func() { stdin.WaitEnd(a.Stdin); close(ended) }()
	}
	select {
	case <-ended:
	case <-ctx.Done():
	case <-s.Done():
		return errors.Join(s.Err(), s.Close())
	}
	return s.Close()
}

func (a *app) printHandle(ctx context.Context, s *dsm.Session, g *dsm.Segment) error {
	if !a.JSON {
		_, err := fmt.Fprintln(a.Stdout, g.Handle())
		return err
	}
	list, err := s.Segments(ctx)
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.Handle == g.Handle() {
			return a.PrintJSON(struct {
				Handle dsm.Handle `json:"handle"`
				Size   int        `json:"size"`
				OSName string     `json:"os_name"`
			}{x.Handle, x.Size, x.OSName})
		}
	}
	return fmt.Errorf("segment %s vanished", g.Handle())
}
