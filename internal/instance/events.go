package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/google/uuid"
)

// Event is an event of the instance, of the present life or of one that has ended.
type Event struct {
	Life       uuid.UUID
	Generation uint64
	control.Event
}

// pastEvents is the file events: the last events of lives that have ended.
type pastEvents struct {
	Events []Event `json:"events"`
}

const pastEventsKept = 1024

// PastEvents returns the events of lives that have ended. A file that is missing, or damaged, tells none.
func (d *Dir) PastEvents() []Event {
	var past pastEvents
	if err := atomicfile.ReadIn(d.Folder, "events", &past); err != nil {
		return nil
	}
	return past.Events
}

// Events returns the events of the life.
func (b *Books) Events() (list []Event, err error) {
	events, err := b.Table.Events()
	for _, e := range events {
		list = append(list, Event{b.Record.Life, b.Record.Generation, e})
	}
	return list, err
}

// keepEvents writes the life's events into the directory, for people, before its books go. It is done once more if
// the process that ends the life dies in between: what is there of the life is replaced. Nothing depends on it.
func (m *Member) keepEvents() {
	if m.Books.Record.Private {
		return // its directory goes, too
	}
	list, err := m.Books.Events()
	if err == nil {
		var kept []Event
		for _, e := range m.Books.Dir.PastEvents() {
			if e.Life != m.Books.Record.Life {
				kept = append(kept, e)
			}
		}
		kept = append(kept, list...)
		failpoint.Hit("instance/events/before")
		err = atomicfile.WriteIn(m.Books.Dir.Folder, "events", pastEvents{kept[max(0, len(kept)-pastEventsKept):]})
		failpoint.Hit("instance/events/kept")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // the directory may have been removed
		m.Log.Warn().Str("event", "events-unkept").Err(err).Msg("the events of the life that ends can't be kept")
	}
}

// KindText returns what has happened, as people and programs read it.
func KindText(k control.EventKind) string {
	if int(k) < len(eventKinds) && eventKinds[k] != "" {
		return eventKinds[k]
	}
	return fmt.Sprintf("kind-%d", k)
}

var eventKinds = [...]string{
	control.Began: "began", control.Adopted: "adopted", control.Ending: "ended", control.Joined: "joined",
	control.Left: "left", control.Died: "died", control.RefusedRows: "refused-segments",
	control.RefusedMemory: "refused-memory", control.RefusedSession: "refused-session",
	control.RefusedSystem: "refused-system", control.RefusedJoin: "refused-join", control.RefusedLock: "refused-lock",
}

// EventsEvery is how often the ring is looked at by those who follow it.
const EventsEvery = 250 * time.Millisecond
