package batchtest

import (
	"context"
	"sync"
	"testing"

	"github.com/godsm/godsm/batch"
)

// inOneFlush hands commands in so that they are in one flush, and returns their outcomes.
func inOneFlush(t *testing.T, e *batch.Engine[Command, Result], cmds []Command) ([]Result, []error) {
	t.Helper()
	running, release := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		once := sync.OnceFunc(func() { close(running) })
		held <- e.Interact(t.Context(), func(context.Context, any) error {
			once()
			<-release
			return nil
		}, nil)
	}()
	<-running
	futures := make([]*batch.Future[Result], len(cmds))
	for i, c := range cmds {
		futures[i] = e.Submit(t.Context(), c)
	}
	close(release)
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	results, errs := make([]Result, len(cmds)), make([]error, len(cmds))
	for i, f := range futures {
		results[i], errs[i] = f.Wait(t.Context())
	}
	return results, errs
}
