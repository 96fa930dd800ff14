package parts

import (
	"os"

	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

func init() { transports["mq"] = transport{lead: mqLead, join: mqJoin} }

// queues is a segment with two queues: there and back.
type queues struct {
	s    *mq.Sender
	r    *mq.Receiver
	ends func() error
}

func mqLead(ring int) (link, []string, []*os.File, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, nil, nil, err
	}
	g, err := w.Create(ctx, w.Owner(), 2*stride(ring))
	if err != nil {
		return nil, nil, nil, err
	}
	q, err := openQueues(g, ring, mq.Create)
	if err != nil {
		return nil, nil, nil, err
	}
	l := &queues{ends: w.end}
	if l.s, err = q[0].Sender(w.Self()); err == nil {
		l.r, err = q[1].Receiver(w.Self())
	}
	return l, []string{w.dir, g.Handle().String()}, nil, err
}

func mqJoin(p *side.Peer, ring int, address []string) (link, error) {
	s, g, err := joinSegment(address[0], address[1])
	if err != nil {
		return nil, err
	}
	q, err := openQueues(g, ring, mq.Attach)
	if err != nil {
		return nil, err
	}
	l := &queues{ends: s.Close}
	if l.s, err = q[1].Sender(s.Self()); err == nil {
		l.r, err = q[0].Receiver(s.Self())
	}
	if err == nil {
		p.Ready()
	}
	return l, err
}

func joinSegment(dir, handle string) (*dsm.Session, *dsm.Segment, error) {
	s, err := dsm.Open(ctx, dsm.Config{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	h, err := dsm.ParseHandle(handle)
	if err != nil {
		return nil, nil, err
	}
	g, err := s.Attach(ctx, s.Owner(), h)
	return s, g, err
}

func stride(ring int) int { return (mq.Size(ring) + 63) &^ 63 }

func openQueues(g *dsm.Segment, ring int, open func(shm.Region) (*mq.Queue, error)) (q [2]*mq.Queue, err error) {
	for i := range q {
		r, err := g.Region().Sub(shm.Offset(i*stride(ring)), mq.Size(ring))
		if err != nil {
			return q, err
		}
		if q[i], err = open(r); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (l *queues) send(msg []byte, n int, flush bool) error {
	for range n {
		if err := l.s.Send(ctx, msg); err != nil {
			return err
		}
	}
	if !flush {
		return nil
	}
	return l.s.Flush()
}

func (l *queues) receive(int) ([]byte, error) { return l.r.Receive(ctx) }

func (l *queues) receiveAll(_, n int) error {
	for range n {
		if _, err := l.r.Receive(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *queues) close() error {
	l.s.Detach()
	l.r.Detach()
	return l.ends()
}
