package mq

import "context"

// Many receives from several queues in one wait: one ring for each sender. Its methods are for one goroutine at a time.
type Many struct {
	ends []End
	last int
}

// NewMany returns what receives from all of the receivers, which it then uses.
func NewMany(receivers ...*Receiver) *Many {
	m := &Many{}
	for _, r := range receivers {
		m.Add(r)
	}
	return m
}

// Add adds one more receiver.
func (m *Many) Add(r *Receiver) { m.ends = append(m.ends, r) }

// Len says how many receivers are left.
func (m *Many) Len() int { return len(m.ends) }

// Receive waits for the next message of any receiver, each in its turn, and says whose it is. The message is valid
// until the next call. A receiver that has come to its end (ErrDetached, ErrPeerDied, ErrCorrupt) is returned with
// that error, once, and left out from then on; the others go on. With none left, or when ctx is over, it is nil
// and ErrDetached or ctx's cause.
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
