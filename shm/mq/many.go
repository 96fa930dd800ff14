package mq

import "context"

// Many: one process that receives from several queues. It is a loop of TryReceive and WaitAny, and adds an order: the
// receivers come in turn, so a sender that always has something does not keep the others waiting.

// Many receives from several queues in one wait: one ring for each sender. Its methods are for one goroutine at a
// time. The zero Many has no receivers.
type Many struct {
	// ends are the receivers that are left; last is the index of the one that was asked last.
	ends []End
	last int
}

// NewMany returns a Many of the receivers, which it uses from then on; the caller still detaches them.
func NewMany(receivers ...*Receiver) *Many {
	m := &Many{}
	for _, r := range receivers {
		m.Add(r)
	}
	return m
}

// Add adds one more receiver, between two calls of Receive.
func (m *Many) Add(r *Receiver) { m.ends = append(m.ends, r) }

// Len returns how many receivers are left.
func (m *Many) Len() int { return len(m.ends) }

// Receive waits for the next message of any receiver, each in its turn, and returns the receiver and the message,
// which is valid until the next call. A receiver that has come to its end (ErrDetached, ErrPeerDied, ErrCorrupt) is
// returned with that error, once, and left out from then on; the others go on. With none left the receiver is nil and
// the error ErrDetached; when ctx is over it is nil and the error the cause of ctx.
func (m *Many) Receive(ctx context.Context) (*Receiver, []byte, error) {
	for {
		for range m.ends {
			m.last = (m.last + 1) % len(m.ends)
			r := m.ends[m.last].(*Receiver)
			b, err := r.TryReceive()
			switch err {
			case nil:
				return r, b, nil
			case ErrWouldBlock:
			default:
				m.ends = append(m.ends[:m.last:m.last], m.ends[m.last+1:]...)
				return r, nil, err
			}
		}
		if len(m.ends) == 0 {
			return nil, nil, ErrDetached
		}
		if _, err := WaitAny(ctx, m.ends...); err != nil {
			return nil, nil, err
		}
	}
}
