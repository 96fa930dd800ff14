package parts

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
)

func init() {
	side.Register("messages/one way", oneWay)
	side.Register("messages/round trip", roundTrip)
	side.Partner("sink", sink)
	side.Partner("echo", echo)
}

const spinningRing = "memcpy through a ring"

func messages(r Rivals) (list []figure.Figure) {
	sizes := []int{8, 64, 1 << 10, 8 << 10, 64 << 10, 1 << 20}
	rings, modes := []int{64 << 10, 1 << 20}, pins()
	if r.Quick {
		sizes, rings = []int{8, 8 << 10, 1 << 20}, []int{1 << 20}
	}
	for _, ring := range rings {
		for _, size := range sizes {
			for _, pin := range modes {
				f := figure.Figure{Part: "messages", Shape: fmt.Sprintf("one way %s, ring %s", Size(size), Size(ring)),
					Pin: pin, Bytes: size}
				limit := why(goSide(spinningRing, "messages/one way", "ring", size, ring),
					"the limit: no frames, no sleep, no check of what lies there")
				if size >= 64<<10 {
					limit.Goal = 1 / 0.7
				}
				f.Sides = []figure.Contender{
					goSide(figure.Ours, "messages/one way", "mq", size, ring),
					limit,
					why(goal(r.postgres(postgres.Posix, "mq one way", size, ring), 1),
						"both copy as fast as the memory goes, and the scheduler moves them about"),
					why(r.boost("mq one way", size, ring),
						"its queue is at least two messages deep, so twice the bytes for long ones"),
					goSide("pipe", "messages/one way", "pipe", size, ring),
					why(goSide("unix socket", "messages/one way", "unix", size, ring), "both copy it in and out as fast as the memory goes"),
				}
				if ring == rings[len(rings)-1] {
					f.Sides = append(f.Sides, goSide("shmipc-go", "messages/one way", "shmipc", size, ring))
				}
				list = append(list, f)
			}
		}
	}
	for _, size := range slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n > 64<<10 }) {
		for _, pin := range modes {
			const ring = 1 << 20
			f := figure.Figure{Part: "messages", Shape: fmt.Sprintf("round trip %s, ring %s", Size(size), Size(ring)),
				Pin: pin, Bytes: 2 * size, Names: []string{"p50", "p99"}}
			pg := r.postgres(postgres.Posix, "mq round trip", size, ring)
			if size == 8 {
				switch pin {
				case side.Same:
					pg.Goal = 1
				case side.Diff:
					pg.Goal, f.Max = 1.0/50, 1000
				}
			}
			f.Sides = []figure.Contender{goSide(figure.Ours, "messages/round trip", "mq", size, ring)}
			if pin == side.Diff {
				f.Sides = append(f.Sides, why(goSide(spinningRing, "messages/round trip", "ring", size, ring),
					"the limit: both spin all the time and never sleep"))
			}
			f.Sides = append(f.Sides,
				why(goSide("raw futex", "messages/round trip", "futex", size, ring),
					"the limit: one copy, one word, one wake-up; no queue"), why(pg, whyTail),
				why(r.boost("mq round trip", size, ring), whyTail),
				why(goSide("pipe", "messages/round trip", "pipe", size, ring), whyTail),
				why(goSide("unix socket", "messages/round trip", "unix", size, ring), whyTail),
				why(goSide("shmipc-go", "messages/round trip", "shmipc", size, ring), whyTail))
			list = append(list, f)
		}
	}
	return list
}

const whyTail = "most answers need no sleep, since the waiter looks for a while or gives its turn away first; the " +
	"rest, of which the tail is made, come after both"

// link is one end of what carries messages both ways. Each transport has its own loops, so that
// no call through an interface is measured for each message.
type link interface {
	// send sends the message n times; flush makes sure that all arrive.
	send(msg []byte, n int, flush bool) error
	// receive receives one message of that size, valid until the next call.
	receive(size int) ([]byte, error)
	// receiveAll receives n messages of that size.
	receiveAll(size, n int) error
	close() error
}

// transport makes both ends of a link.
type transport struct {
	// lead makes the lead's end; the partner is told address and has files from descriptor 3 on.
	lead func(ring int) (l link, address []string, files []*os.File, err error)
	// join makes the partner's end, and says when it is ready.
	join func(p *side.Peer, ring int, address []string) (link, error)
	// connect, if not nil, completes the lead's end when the partner is ready.
	connect func(l link) error
}

var transports = map[string]transport{} // filled by the files that have them

// dial makes both ends of a link, the other one in a partner. The arguments are TRANSPORT SIZE RING.
func dial(partner string, a side.Args) (link, side.Fellow, error) {
	t, ok := transports[a.List[0]]
	if !ok {
		return nil, side.Fellow{}, fmt.Errorf("%s does not run on this system", a.List[0])
	}
	ring := a.Int(2)
	l, address, files, err := t.lead(ring)
	if err != nil {
		return nil, side.Fellow{}, err
	}
	p, err := side.StartPartner(partner, a.Pin, files, append(slices.Clone(a.List), address...)...)
	for _, f := range files {
		f.Close()
	}
	if err == nil && t.connect != nil {
		err = t.connect(l)
	}
	return l, p, err
}

// joinLink returns the beginning of a partner.
func joinLink(p *side.Peer) (link, error) {
	return transports[p.List[0]].join(p, p.Int(2), p.List[3:])
}

// oneWay sends n messages; the time ends when the partner says that it has received the last.
func oneWay(a side.Args) (*side.Work, error) {
	l, p, err := dial("sink", a)
	if err != nil {
		return nil, err
	}
	message := make([]byte, a.Int(1))
	header := make([]byte, 8)
	return &side.Work{Run: side.Loop(func(n int) error {
		binary.NativeEndian.PutUint64(header, uint64(n))
		if err := l.send(header, 1, false); err != nil {
			return err
		}
		if err := l.send(message, n, true); err != nil {
			return err
		}
		_, err := l.receive(8)
		return err
	}), Close: ending(l, p)}, nil
}

// ending closes the lead's end first: a partner that waits for messages ends when there will be none.
func ending(l link, p side.Fellow) func() error {
	return func() error {
		p.Kill()
		return l.close()
	}
}

// sink receives as many messages as the first one says, and answers when it has.
func sink(p *side.Peer) error {
	l, err := joinLink(p)
	if err != nil {
		return err
	}
	for {
		header, err := l.receive(8)
		if err != nil {
			return err
		}
		if err := l.receiveAll(p.Int(1), int(binary.NativeEndian.Uint64(header))); err != nil {
			return err
		}
		if err := l.send([]byte("received"), 1, true); err != nil {
			return err
		}
	}
}

// roundTrip sends a message and waits for it to come back.
func roundTrip(a side.Args) (*side.Work, error) {
	l, p, err := dial("echo", a)
	if err != nil {
		return nil, err
	}
	size := a.Int(1)
	message := make([]byte, size)
	return &side.Work{Each: func(ns []time.Duration) error {
		begin, last := time.Now(), time.Duration(0)
		for i := range ns {
			if err := l.send(message, 1, true); err != nil {
				return err
			}
			if _, err := l.receive(size); err != nil {
				return err
			}
			now := time.Since(begin)
			ns[i] = now - last
			last = now
		}
		return nil
	}, Close: ending(l, p)}, nil
}

func echo(p *side.Peer) error {
	l, err := joinLink(p)
	if err != nil {
		return err
	}
	for {
		m, err := l.receive(p.Int(1))
		if err != nil {
			return err
		}
		if err := l.send(m, 1, true); err != nil {
			return err
		}
	}
}
