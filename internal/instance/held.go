package instance

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// Held is what a member holds of a segment: a reference in the books and, unless the segment is carved, the mapping of
// its object. The zero Held holds nothing.
type Held struct {
	Entry   control.Entry
	Mapping dsmimpl.Mapping // none of a carved segment, or if Take was not to map
}

// holds reports whether there is a reference.
func (h *Held) holds() bool { return h.Entry.Handle != 0 }

// Part returns the segment's bytes in its mapping.
func (h *Held) Part() []byte { return Part(h.Mapping, &h.Entry) }

// Make makes a segment of size bytes, all zero, and holds it: carved out of the reserved region if the member carves and
// there is room, else as an object of its own. A full table reclaims dead processes before it is an error. Now is a Unix
// time in ns that may be a little old. Listed is called when the segment has its handle for good, before another
// goroutine or process can find it.
//
// If it fails, nothing is left but what lingers: the Held whose reference could not be given back, for Give.
func (m *Member) Make(ctx context.Context, size int, now int64, listed func(control.Entry)) (h, lingers Held, err error) {
	entry, err := m.intendObject(ctx, size, now)
	if err != nil {
		return h, lingers, err
	}
	if _, carved := entry.Carved(); carved {
		listed(entry)
		h.Entry = entry
		if err := m.publishCarvedObject(&entry); err != nil {
			lingers, _ = m.Give(h) // nothing is mapped
			return Held{}, lingers, err
		}
		return h, lingers, nil
	}
	if h.Entry, h.Mapping, err = m.makeObject(ctx, entry); err != nil {
		return Held{}, lingers, err
	}
	listed(h.Entry)
	return h, lingers, m.makeLive(ctx, &h)
}

// TryMake does what Make does for a carved segment, without waiting. If ok is false and there is no error, nothing was
// made, and Make would wait, make an object, or say why it can't.
func (m *Member) TryMake(size int, now int64) (h Held, ok bool, err error) {
	if h.Entry, ok = m.Self.TryCarve(size, now); !ok {
		return Held{}, false, nil
	}
	if err := m.publishCarvedObject(&h.Entry); err != nil {
		m.Self.TryUnref(h.Entry) // if that is refused Leave and reclaim give it back
		return Held{}, false, err
	}
	return h, true, nil
}

// Take refers to a live segment and, unless it is carved or unmapped is set, maps its object. A handle that is not
// live is ErrNotFound. If it fails, nothing is left but what lingers, as with Make.
func (m *Member) Take(ctx context.Context, handle uint64, unmapped bool) (h, lingers Held, err error) {
	if h.Entry, err = m.Self.Ref(ctx, handle); err != nil {
		return Held{}, lingers, err
	}
	return m.Retake(h, unmapped)
}

// Retake does what Take does with what lingers: its reference is there, and its mapping is not.
func (m *Member) Retake(lingering Held, unmapped bool) (h, lingers Held, err error) {
	h = lingering
	failpoint.Hit("dsm/attach/referenced")
	switch _, carved := h.Entry.Carved(); {
	case carved && m.Books.RegionErr != nil:
		err = m.Books.RegionErr
	case carved && m.Books.Region.Bytes == nil:
		err = errkind.As(errkind.Corrupt,
			errors.New("the segment lies in a reserved region, of which the instance has none"))
	case !carved && !unmapped:
		h.Mapping, err = m.Books.Map(context.Background(), h.Entry, dsmimpl.ReadWrite)
	}
	if err != nil {
		h.Mapping = dsmimpl.Mapping{}
		lingers, _ = m.Give(h)
		return Held{}, lingers, err
	}
	failpoint.Hit("dsm/attach/mapped")
	return h, lingers, nil
}

// Give gives up what is held of a segment: its mapping goes, then the reference and, if that was the last one, the
// object. Without the control lock the reference lingers, for another Give; Leave gives back what lingers in the end.
// The error is that of the mapping.
func (m *Member) Give(h Held) (lingers Held, err error) {
	if h.Mapping.Bytes != nil {
		err = m.Books.Unmap(h.Mapping)
		h.Mapping = dsmimpl.Mapping{}
	}
	failpoint.Hit("dsm/detach/unmapped")
	if !h.holds() {
		return h, err
	}
	ctx := context.Background()
	last, uerr := m.Self.Unref(ctx, h.Entry)
	switch {
	case last:
		failpoint.Hit("dsm/detach/last")
		_ = m.Destroy(ctx, h.Entry) // logged
	case uerr != nil:
		m.Log.Warn().Err(uerr).Str("handle", fmt.Sprintf("%016x", h.Entry.Handle)).
			Str("event", "reference-owed").Msg("a reference could not be given back now; it is given back when the session closes, if not before")
		return h, err
	}
	return Held{}, err
}

// TryGive does what Give does for a carved segment, without waiting, and reports whether it was done.
func (m *Member) TryGive(h *Held) bool {
	if !m.Self.TryUnref(h.Entry) {
		return false
	}
	failpoint.Hit("dsm/detach/at-once")
	return true
}

// makeLive lets others attach a segment whose object is made. If it can't, h is nothing any more.
func (m *Member) makeLive(ctx context.Context, h *Held) error {
	err := m.Self.Created(ctx, h.Entry, h.Entry.Word)
	if err == nil {
		failpoint.Hit("dsm/create/live")
		return nil
	}
	// Closing made the row destroying; without the lock it stays creating, which Leave and reclaim finish. A
	// row that was garbled leads no other session to the object.
	err = errors.Join(err, m.Books.Unmap(h.Mapping))
	if errors.Is(err, errkind.Stale) || errors.Is(err, errkind.Corrupt) {
		err = errors.Join(err, m.Destroy(ctx, h.Entry))
	}
	*h = Held{}
	return err
}
