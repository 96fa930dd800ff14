package otel

import (
	"context"
	"io"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/resowner"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Session is a session whose segments are traced: dsm.create and dsm.attach, with dsm.segment.handle and dsm.segment.size.
type Session struct {
	*dsm.Session
	tracer tracer
}

// TraceSession returns s with spans of Create, CreateFrom and Attach.
func TraceSession(p trace.TracerProvider, s *dsm.Session) Session { return Session{s, newTracer(p)} }

// Create does what dsm.Session.Create does.
func (s Session) Create(ctx context.Context, owner *resowner.Owner, size int) (*dsm.Segment, error) {
	begun := time.Now()
	g, err := s.Session.Create(ctx, owner, size)
	s.tracer.created(ctx, begun, g, size, err)
	return g, err
}

// CreateFrom does what dsm.Session.CreateFrom does.
func (s Session) CreateFrom(ctx context.Context, owner *resowner.Owner, r io.Reader, size int) (*dsm.Segment, error) {
	begun := time.Now()
	g, err := s.Session.CreateFrom(ctx, owner, r, size)
	s.tracer.created(ctx, begun, g, size, err)
	return g, err
}

// Attach does what dsm.Session.Attach does.
func (s Session) Attach(ctx context.Context, owner *resowner.Owner, h dsm.Handle) (*dsm.Segment, error) {
	begun := time.Now()
	g, err := s.Session.Attach(ctx, owner, h)
	s.tracer.span(ctx, "dsm.attach", begun, err, func() []attribute.KeyValue {
		about := []attribute.KeyValue{attribute.String("dsm.segment.handle", h.String())}
		if err == nil {
			about = append(about, attribute.Int("dsm.segment.size", g.Size()))
		}
		return about
	})
	return g, err
}

func (t tracer) created(ctx context.Context, begun time.Time, g *dsm.Segment, size int, err error) {
	t.span(ctx, "dsm.create", begun, err, func() []attribute.KeyValue {
		about := []attribute.KeyValue{attribute.Int("dsm.segment.size", size)}
		if err == nil {
			about = append(about, attribute.String("dsm.segment.handle", g.Handle().String()))
		}
		return about
	})
}
