package chaos

import (
	"context"
	"path/filepath"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// MaxWorkers bounds Options.Workers.
const MaxWorkers = 100

// board lies in a segment that all have attached: what they tell each other, and what the run
// counts. Counts survive the worker that counted.
type board struct {
	_      structs.HostLayout
	lock   shmsync.MutexWord // robust: its holders get killed
	_      uint32
	ledger block             // written by the lock's holder only
	shelf  [64]atomic.Uint64 // handles for others to attach; any may be gone
	pins   [16]atomic.Uint64 // handles that were pinned
	desks  [MaxWorkers]desk
}

// desk is one worker's; it goes on where its predecessor was killed.
type desk struct {
	steps atomic.Uint64
	wrong atomic.Uint64 // blocks
}

const boardSize = 8 + blockSize + 64*8 + 16*8 + MaxWorkers*16

// notice says, in the instance's directory, where the present generation's board is.
type notice struct {
	Generation uint64     `json:"generation"`
	Board      dsm.Handle `json:"board"`
}

func noticePath(dir string) string { return filepath.Join(dir, "crash-board") }

// makeBoard makes a generation's board and puts up the notice.
func makeBoard(ctx context.Context, s *dsm.Session, dir string) (*board, *dsm.Segment, error) {
	g, err := s.Create(ctx, s.Owner(), boardSize)
	if err != nil {
		return nil, nil, err
	}
	b, err := shm.At[board](g.Region(), 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := s.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	return b, g, atomicfile.Write(noticePath(dir), notice{st.Generation, g.Handle()})
}

// findBoard attaches the board of the session's generation; ErrNotFound if there is none yet.
func findBoard(ctx context.Context, s *dsm.Session, dir string) (*board, *dsm.Segment, error) {
	var n notice
	if err := atomicfile.Read(noticePath(dir), &n); err != nil {
		return nil, nil, dsm.ErrNotFound
	}
	g, err := s.Attach(ctx, s.Owner(), n.Board)
	if err != nil {
		return nil, nil, err
	}
	b, err := shm.At[board](g.Region(), 0)
	return b, g, err
}

func (b *board) sum(of func(*desk) uint64) (n uint64) {
	for i := range b.desks {
		n += of(&b.desks[i])
	}
	return n
}
