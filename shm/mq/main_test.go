package mq_test

import (
	"context"
	"testing"

	"github.com/godsm/godsm/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var ctx = context.Background()
