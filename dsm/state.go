package dsm

// SegmentState says where a segment is in its life. It is the text that people and JSON see.
type SegmentState string

// The states of a segment. A segment begins as creating, is live as long as anything holds it, and ends as destroying.
const (
	SegmentCreating   SegmentState = "creating"   // a session makes its object, or has died doing so
	SegmentLive       SegmentState = "live"       // it can be attached
	SegmentDestroying SegmentState = "destroying" // nothing holds it any more, and its object is being removed
	SegmentCorrupt    SegmentState = "corrupt"    // the checksum of its row is wrong
)

// String returns the state as it is written everywhere.
func (s SegmentState) String() string { return string(s) }

// SessionState says what a session's process is doing, as far as another process can see. It is the text that people and
// JSON see. Where more than one state applies the first of dead, stopped, closing and unseen is given.
type SessionState string

// The states of a session.
const (
	SessionRunning SessionState = "running"
	SessionStopped SessionState = "stopped" // by a signal or a debugger
	SessionClosing SessionState = "closing" // it is closed, and bytes are still lent to functions of With
	SessionDead    SessionState = "dead"    // and not reclaimed yet
	// SessionUnseen is the state of a session that holds its place, and no process here has its pid: it is in another
	// pid namespace, or it is dead and a child that it forked holds the place.
	SessionUnseen SessionState = "unseen"
)

// String returns the state as it is written everywhere.
func (s SessionState) String() string { return string(s) }

// sessionState is how far the end of a session has come. It changes under Session.mu, and each state follows the one
// before it, by Close; the last by Close or by the last use of what was lent. A session that is stale is open until
// Close: Session.err has the reason.
//
//	open      -> closing    Close was called: no call begins any more, those in flight are waited for
//	closing   -> returning  none is in flight: hooks and owners give back what they hold; attachments whose last use is
//	                        over are parked for Close
//	returning -> lent       all is swapped but what functions of With, or hooks of a Detach, still use
//	lent      -> left       nothing is lent any more: the row is given up, the books must not be touched
type sessionState uint8

const (
	sessionOpen sessionState = iota
	sessionClosing
	sessionReturning
	sessionLent
	sessionLeft
)

// begun reports whether the end has come so far that no call from before it is in flight. From then on mappings are
// withdrawn and not only unmapped.
func (st sessionState) begun() bool { return st >= sessionReturning }
