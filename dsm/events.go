package dsm

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/instance"
	"github.com/google/uuid"
)

// The events of an instance, for people: those of the present generation from the ring in the control segment, earlier
// ones from a file in the directory. They are read without a lock and without a session, so they can be read when
// nothing else works. Nothing is decided by them.

// Event is something that happened in the life of an instance.
type Event struct {
	Time       time.Time
	Generation uint64
	// Kind is one of
	//
	//	began, adopted, ended    a generation, by its supervisor
	//	joined, left, died       a session, or a supervisor: died tells what was given back for it, and by which session
	//	refused-segments         max_segments
	//	refused-memory           max_memory
	//	refused-session          max_memory_per_process, max_segments_per_process
	//	refused-system           the system had no memory, or gave another reason
	//	refused-join             max_processes
	//	refused-lock             a wait for the control lock was given up; the session is the one that held it
	//
	// A session tells of refusals of one kind once in a second.
	Kind        string
	Session     string // row and incarnation, as SessionInfo.Name; empty if the event is about none. Row 0 is the supervisor's
	Pid         int    // as the process sees itself
	Application string
	By          string // the session that has done it; empty if that is the same
	Count       uint64 // of died: references given back; of refusals: how often so far
	Bytes       uint64 // of died: their sizes, but for what a reclaimer had given back that died, too
}

func (e Event) String() string {
	s := e.Kind
	if e.Session != "" {
		s += " " + e.Session
	}
	if e.Pid != 0 {
		s += fmt.Sprintf(" pid %d (%+q)", e.Pid, e.Application)
	}
	switch {
	case e.Kind == "died":
		s += fmt.Sprintf(": %d references, %d bytes given back", e.Count, e.Bytes)
	case e.Count > 0:
		s += fmt.Sprintf(": %d so far", e.Count)
	}
	if e.By != "" {
		s += " by " + e.By
	}
	return s
}

// Events yields the events of the instance in cfg.Dir, oldest first: the last 1024 of the present generation, and as
// many of those that have ended. With follow it then waits for the next ones, until ctx is over, over the ends of
// generations, too.
//
// It joins nothing and takes no lock. It works when all processes of the instance have been killed, where the backend's
// objects outlive them, and after Supervisor.Stop. An event whose writer was killed halfway is left out, as is one that
// a stray store has hit. An error is the last that is yielded. Without follow that no instance runs is no error if
// there are events of an earlier one.
func Events(ctx context.Context, cfg Config, follow bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := events(ctx, cfg, follow, yield); err != nil {
			yield(Event{}, wrapErr("events", 0, "", err))
		}
	}
}

// eventKey tells events apart, in the ring and in the file.
type eventKey struct {
	life   uuid.UUID
	number uint64
	time   int64
	kind   control.EventKind
}

// events does what Events does, without the Error around the error. It reads all events again each time, since a ring
// that has come round has no place to go on from, and yields those that it has not yielded the time before. It
// remembers what was there at the last look alone: what has left the ring does not come back.
func events(ctx context.Context, cfg Config, follow bool, yield func(Event, error) bool) error {
	told := map[eventKey]bool{} // what was yielded, of what was there at the last look
	for {
		list, err := allEvents(ctx, cfg)
		if err != nil && !follow && len(list) == 0 {
			return err
		}
		now := map[eventKey]bool{}
		for _, e := range list {
			k := eventKey{e.Life, e.Number, e.Time.UnixNano(), e.Kind}
			if now[k] = true; !told[k] && !yield(eventOf(e), nil) {
				return nil
			}
		}
		if !follow {
			return ignoreNoInstance(err)
		}
		if err == nil || len(list) > 0 {
			told = now
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(instance.EventsEvery):
		}
	}
}

// allEvents returns the events that can be read now, oldest first. With an error the list holds what earlier
// generations have left; the error says why nothing of the present one could be read.
func allEvents(ctx context.Context, cfg Config) (list []instance.Event, err error) {
	path, backends, set, err := cfg.resolveToLook()
	if err != nil {
		return nil, err
	}
	dir, err := instance.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	books, err := dir.Look(ctx, backends, set)
	var present []instance.Event
	if err == nil {
		present, err = books.Events()
		books.Close()
	}
	for _, e := range dir.PastEvents() { // after the look: a life that ends is in one or both
		if len(present) == 0 || e.Life != present[0].Life {
			list = append(list, e)
		}
	}
	if list = append(list, present...); err == nil && len(list) == 0 {
		err = errkind.As(ErrNotFound, fmt.Errorf("no events in %s", path))
	}
	return list, err
}

// eventOf returns an event of the books as this package shows it.
func eventOf(e instance.Event) Event {
	return Event{
		Time: e.Time, Generation: e.Generation, Kind: instance.KindText(e.Kind), Session: peerName(e.Subject), Pid: e.Pid,
		Application: e.Application, By: peerName(e.Actor), Count: e.Count, Bytes: e.Bytes,
	}
}
