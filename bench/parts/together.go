package parts

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/shm"
)

// meeting is where two processes meet to begin at the same moment; each word follows the one above.
type meeting struct {
	Here atomic.Uint32 // the partner is there
	_    [124]byte
	Go   atomic.Uint32
	_    [124]byte
	Done atomic.Uint32 // by the partner
	_    [124]byte
}

// together returns a work that two processes do at once, n times each; the time ends when both are done. The
// partner is told args and has the meeting's memory as descriptor 3; it answers calls with serveTogether.
func together(partner string, a side.Args, ours func(n int) error, args []string,
	files ...*os.File) (run func(int) (time.Duration, error), p side.Fellow, err error) {
	f, b, err := sharedMemory(4096)
	if err != nil {
		return nil, p, err
	}
	defer f.Close()
	m, err := shm.At[meeting](shm.NewRegion(b), 0)
	if err != nil {
		return nil, p, err
	}
	if p, err = side.StartPartner(partner, a.Pin, append([]*os.File{f}, files...), args...); err != nil {
		return nil, p, err
	}
	call := uint32(0)
	return func(n int) (time.Duration, error) {
		call++
		if err := p.Say(strconv.Itoa(n)); err != nil {
			return 0, fmt.Errorf("the partner is gone: %w", err)
		}
		await(func() bool { return m.Here.Load() == call })
		begin := time.Now()
		m.Go.Store(call)
		if err := ours(n); err != nil {
			return 0, err
		}
		await(func() bool { return m.Done.Load() == call })
		return time.Since(begin), nil
	}, p, nil
}

// serveTogether does theirs, in the partner, as often as the leader asks for it.
func serveTogether(p *side.Peer, theirs func(n int) error) error {
	b, err := mapShared(os.NewFile(3, "meeting"))
	if err != nil {
		return err
	}
	m, err := shm.At[meeting](shm.NewRegion(b), 0)
	if err != nil {
		return err
	}
	p.Ready()
	for call := uint32(1); ; call++ {
		line, ok := p.Hear()
		if !ok {
			return nil
		}
		n, err := strconv.Atoi(line)
		if err != nil {
			return err
		}
		m.Here.Store(call)
		await(func() bool { return m.Go.Load() == call })
		if err := theirs(n); err != nil {
			return err
		}
		m.Done.Store(call)
	}
}
