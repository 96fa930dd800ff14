package top

import (
	"slices"
	"time"

	"github.com/godsm/godsm/internal/command/cli"
)

// titles returns the names of the views, in their order.
func titles() []string {
	return []string{"sessions", "segments", "names", "caches", "locks", "queues", "events"}
}

func sheets() []view {
	return []view{sessions(), segments(), names(), caches(), lockLines(), queueLines(), events()}
}

// indexOf returns the index of a column.
func indexOf[R any](columns []cli.Column[R], name string) int {
	return slices.IndexFunc(columns, func(c cli.Column[R]) bool { return c.Name == name })
}

func since(seconds float64) string {
	return "for " + time.Duration(seconds*float64(time.Second)).Round(100*time.Millisecond).String()
}
