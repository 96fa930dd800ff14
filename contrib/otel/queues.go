package otel

import (
	"context"
	"time"

	"github.com/godsm/godsm/batch/shared"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Queue is a queue of package batch/shared whose commands are traced: dsm.queue.do, with dsm.queue.name.
type Queue[Cmd, Res any] struct {
	*shared.Queue[Cmd, Res]
	name   string
	tracer tracer
}

// TraceQueue returns q, which was opened under that name, with spans of Do.
func TraceQueue[Cmd, Res any](p trace.TracerProvider, q *shared.Queue[Cmd, Res], name string) Queue[Cmd, Res] {
	return Queue[Cmd, Res]{q, name, newTracer(p)}
}

// Do does what shared.Queue.Do does.
func (q Queue[Cmd, Res]) Do(ctx context.Context, cmd Cmd) (Res, error) {
	begun := time.Now()
	res, err := q.Queue.Do(ctx, cmd)
	q.tracer.span(ctx, "dsm.queue.do", begun, err, func() []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String("dsm.queue.name", clean(q.name))}
	})
	return res, err
}
