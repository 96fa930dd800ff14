package dsm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/godsm/godsm/resowner"
)

const (
	// pieceRead is how many bytes CreateFrom asks its reader for at once: it looks at the context in between.
	pieceRead = 1 << 20
	// maxEmptyReads is how often in turn a reader may give no byte and no error, as with package bufio.
	maxEmptyReads = 100
)

// CreateFrom makes a segment of size bytes, as Create does, and reads its contents from r: size bytes, and no more. They
// are read in place, so those of a file are copied once, by the system. The size of a file is what its Stat returns.
//
// If r ends early the error is io.ErrUnexpectedEOF. If r fails, panics or ends its goroutine, or if ctx is over between
// two reads, nothing is left of the segment. Nothing ends a Read that waits. Session.Segments lists the segment before
// it is filled.
func (s *Session) CreateFrom(ctx context.Context, owner *resowner.Owner, r io.Reader, size int) (*Segment, error) {
	if r == nil {
		return nil, wrapErr("create", 0, s.backend(), errors.New("the reader is nil: Create makes a segment of zeros"))
	}
	g, err := s.makeSegment(ctx, owner, size)
	if err != nil {
		return nil, s.errOfCreate(size, err)
	}
	// Detach also if r panics or calls runtime.Goexit. Its error is left out: the Segment has ended in any case, and
	// what can't be given back now is given back later.
	filled := false
	defer func() {
		if !filled {
			_ = g.Detach()
		}
	}()
	// With makes an error of a fault in a segment that is truncated meanwhile, and keeps the bytes if r closes the
	// session.
	at := 0
	err = g.With(func(b []byte) (err error) {
		at, err = fillFrom(ctx, b, r)
		return err
	})
	if err == nil {
		err = g.errIfDetached() // r may have closed the session
	}
	if err != nil {
		return nil, g.fail("create", fmt.Errorf("from a reader, after %d of %d bytes: %w", at, size, err))
	}
	filled = true
	return g, nil
}

// fillFrom reads all of b from r, and returns how many bytes it has read. It does what io.ReadFull does, in pieces, between
// which it looks at ctx. A reader that gives nothing for long is io.ErrNoProgress, and one that claims more than it was
// asked for is an error: the bytes belong to the program, but the count is checked before it is used.
func fillFrom(ctx context.Context, b []byte, r io.Reader) (at int, err error) {
	for empty := 0; at < len(b); {
		if err := errIfOver(ctx); err != nil {
			return at, err
		}
		to := b[at:min(at+pieceRead, len(b))]
		n, err := r.Read(to)
		if n < 0 || n > len(to) {
			return at, fmt.Errorf("the reader was asked for %d bytes and says that it has read %d", len(to), n)
		}
		if at += n; at == len(b) {
			break
		}
		switch {
		case err == io.EOF:
			return at, io.ErrUnexpectedEOF
		case err != nil:
			return at, err
		case n > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return at, io.ErrNoProgress
			}
		}
	}
	return at, nil
}
