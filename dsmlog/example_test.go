package dsmlog_test

import (
	"log/slog"
	"os"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmlog"
)

// What the library logs goes where the program's own lines go.
func ExampleSlog() {
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	l := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: noTime}))
	cfg := dsm.Config{Logger: dsmlog.Slog(l)}
	cfg.Logger.Warn().Str("event", "example").Msg("this is what a warning looks like")
	// Output: level=WARN msg="this is what a warning looks like" event=example
}
