package batch

import (
	"context"
	"sync/atomic"
)

// A stream keeps the order of the commands of one Ordered context.
type stream struct {
	pending atomic.Int64 // commands that have not been answered
}

// scope is what a context says to an engine.
type scope struct {
	stream *stream
	inside any // the engine that runs an interaction with this context
}

type scopeKey struct{}

func scopeOf(ctx context.Context) (s scope) {
	if p, ok := ctx.Value(scopeKey{}).(*scope); ok {
		s = *p
	}
	return s
}

// Ordered returns a context whose commands keep the order in which they are handed in, whatever their keys are: no two
// of them are in one statement, and none passes another. Who waits for each command before it hands in the next one
// needs no such context.
func Ordered(ctx context.Context) context.Context {
	s := scopeOf(ctx)
	s.stream = &stream{}
	return context.WithValue(ctx, scopeKey{}, &s)
}
