package segments

import (
	"io"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

func (a *app) readCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "read HANDLE",
		GroupID:           cli.Hold,
		ValidArgsFunction: a.First(a.Handles),
		Short:             "Print a segment's bytes, exactly",
		Args:              cobra.ExactArgs(1),
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
			g, err := s.Attach(cmd.Context(), s.Owner(), h)
			if err != nil {
				return err
			}
			return a.printBytes(g)
		},
	}
}

func (a *app) printBytes(g *dsm.Segment) error {
	if !a.JSON {
		_, err := io.Copy(a.Stdout, io.NewSectionReader(g, 0, int64(g.Size())))
		return err
	}
	b := make([]byte, g.Size())
	if _, err := g.ReadAt(b, 0); err != nil {
		return err
	}
	return a.PrintJSON(struct {
		Handle dsm.Handle `json:"handle"`
		Size   int        `json:"size"`
		Base64 []byte     `json:"base64"`
	}{g.Handle(), g.Size(), b})
}
