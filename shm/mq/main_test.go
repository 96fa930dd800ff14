package mq_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var ctx = context.Background()

// name is a size for people.
func name(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	if n >= 1<<10 {
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}
