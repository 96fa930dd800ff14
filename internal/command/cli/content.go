package cli

import (
	"context"
	"io"

	"github.com/godsm/godsm/internal/command/stdin"
)

// Content returns what a command is to store: its argument, or standard input. A size alone asks for zeros.
func (a *App) Content(ctx context.Context, args []string, sized bool) (b []byte, fromStdin bool, err error) {
	switch {
	case len(args) == 1 && args[0] != "-":
		return []byte(args[0]), false, nil
	case len(args) == 0 && sized:
		return nil, false, nil
	}
	b, err = io.ReadAll(stdin.Reader(ctx, a.Stdin))
	return b, true, err
}
