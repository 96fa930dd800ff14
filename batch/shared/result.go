package shared

import (
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/failpoint"
)

// kinds of a result.
const (
	value   = 1
	failure = 2 // executed, class and cause in a byte each, and the text
	missing = 3 // the command was executed, and its result has no room
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf returns the checksum of bytes that belong to one use of a slot.
func sumOf(number uint64, b []byte) uint32 {
	crc := ^uint32(0) // of the number's bytes, without a slice of them, which would be allocated
	for range 8 {
		crc = castagnoli[byte(crc)^byte(number)] ^ crc>>8
		number >>= 8
	}
	return crc32.Update(^crc, castagnoli, b)
}

// causes are the kinds of errors that errors.Is finds in another process, too.
var causes = []error{nil, batch.ErrPoison, batch.ErrPanic, batch.ErrUnsettled, batch.ErrDeposed, batch.ErrClosed, ErrCorrupt, ErrSize}

// remote is an error that another process has had.
type remote struct {
	text  string
	cause error
}

// Error returns the text that the error had there.
func (e remote) Error() string { return e.text }

// Unwrap returns the kind of the error.
func (e remote) Unwrap() error { return e.cause }

// storeResult stores the result of a slot that this process has claimed.
func (m *memory) storeResult(slot int, kind uint32, b []byte) {
	s := &m.slots[slot]
	if len(b) > m.shape.result {
		kind, b = missing, nil
	}
	copy(m.results[slot*m.shape.result:], b)
	s.kind.Store(kind)
	s.extent.Store(uint32(len(b)))
	s.check.Store(sumOf(s.number.Load()+uint64(kind)<<32, b))
}

// appendFailure appends an error as it lies in a slot that has room for size bytes of a result: an excerpt of its text.
func appendFailure(b []byte, err error, size int) []byte {
	e, ok := errors.AsType[*batch.Error](err)
	if !ok {
		e = &batch.Error{Err: err}
	}
	cause := byte(0)
	for i, c := range causes {
		if c != nil && errors.Is(err, c) {
			cause = byte(i)
		}
	}
	return append(append(b, byte(e.Executed), byte(e.Class), cause), excerpt.Of(e.Err.Error(), size-3)...)
}

func parseFailure(b []byte) error {
	if len(b) < 3 || int(b[2]) >= len(causes) {
		return &batch.Error{Executed: batch.Maybe, Err: errGarbled}
	}
	return &batch.Error{Executed: batch.Executed(b[0]), Class: batch.Class(b[1]), Err: remote{string(b[3:]), causes[b[2]]}}
}

var errGarbled = errkind.As(ErrCorrupt, errors.New("batch/shared: the slot of the command is garbled"))

// loadResult copies the result of a slot that is done into buf.
func (m *memory) loadResult(slot int, buf []byte) (kind uint32, b []byte, err error) {
	s := &m.slots[slot]
	kind, long := s.kind.Load(), s.extent.Load()
	if long > uint32(m.shape.result) {
		return 0, nil, &batch.Error{Executed: batch.Yes, Err: ErrResult}
	}
	n := int(long)
	b = append(buf[:0], m.results[slot*m.shape.result:slot*m.shape.result+n]...)
	if s.check.Load() != sumOf(s.number.Load()+uint64(kind)<<32, b) {
		return 0, nil, &batch.Error{Executed: batch.Maybe, Err: ErrResult}
	}
	return kind, b, nil
}

// parse runs a codec's function on bytes of shared memory.
func parse[T any](c Codec[T], b []byte) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("Codec.Parse: %w: %s", batch.ErrPanic, excerpt.Print(r))
		}
	}()
	return c.Parse(b)
}

func appendTo[T any](c Codec[T], b []byte, v T) (_ []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("Codec.Append: %w: %s", batch.ErrPanic, excerpt.Print(r))
		}
	}()
	return c.Append(b, v)
}

// storeResult stores a result. Only the engine's worker calls it.
func (l *leader[Cmd, Res]) storeResult(slot int, res Res) {
	b, err := appendTo(l.q.results, l.result[:0], res)
	if err != nil {
		l.m.storeResult(slot, missing, nil)
		return
	}
	l.result = b
	l.m.storeResult(slot, value, b)
}

// answer stores a slot's outcome in the shared bytes, for tell. It does nothing to a slot that this leader has not claimed.
func (l *leader[Cmd, Res]) answer(slot int, res Res, err error) error {
	s := &l.m.slots[slot]
	w := s.load()
	if w.epoch() != l.epoch || w.state() != claimed && w.state() != tentative {
		return nil
	}
	switch {
	case l.leaving.Load() && err != nil: // it is not known, or was not tried
		if w.state() == claimed {
			l.returnClaimed(slot, w)
		}
		return nil
	case err != nil:
		l.m.storeResult(slot, failure, appendFailure(nil, err, l.m.shape.result))
	case w.state() == claimed:
		l.storeResult(slot, res)
	}
	failpoint.Hit("batch/lead/answering")
	if s.move(w, use(done, s.number.Load())) {
		failpoint.Hit("batch/lead/answered")
		l.bell.owe(l.m, slot)
	}
	return nil
}

// finishSlot gives a slot its outcome. The engine's worker calls it, and the leader for what the engine does not get.
func (l *leader[Cmd, Res]) finishSlot(it item[Cmd], res Res, err error) {
	if errors.Is(err, batch.ErrDeposed) {
		l.leaving.Store(true)
	}
	_ = l.m.contained(func() error {
		if l.m.head.lead.Load() != uint64(leads(l.epoch, l.m.self.Row)) {
			return nil // the next leader answers it
		}
		return l.answer(it.slot, res, err)
	})
	if l.pending.Add(-1) == 0 {
		l.tellAll()
		l.idle <- struct{}{}
	}
}
