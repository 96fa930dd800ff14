package otel

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Least is how long a call takes at least of which there is a span. One that was faster and succeeded costs two looks at the
// clock.
const Least = 100 * time.Microsecond

// tracer makes the spans.
type tracer struct{ t trace.Tracer }

func newTracer(p trace.TracerProvider) tracer { return tracer{p.Tracer(scope)} }

// span makes the span of a call that has ended: it began then, and about tells the rest. Of a call that took no time, and
// succeeded, there is none.
func (t tracer) span(ctx context.Context, name string, begun time.Time, err error, about func() []attribute.KeyValue) {
	if end := time.Now(); err != nil || end.Sub(begun) >= Least {
		_, s := t.t.Start(ctx, name, trace.WithTimestamp(begun), trace.WithAttributes(about()...))
		fail(s, err)
		s.End(trace.WithTimestamp(end))
	}
}

// fail says in a span how the call failed, if it did.
func fail(s trace.Span, err error) {
	if err != nil {
		s.RecordError(err)
		s.SetStatus(codes.Error, err.Error())
	}
}

// clean returns bytes that a program has chosen as UTF-8, which attributes are.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
