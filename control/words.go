package control

// The words of rows are packed: state and owner are one store, so no process ever sees the one without the other. This
// file packs and unpacks them. It knows nothing of which moves between states are legal; the package comment does.

// A process word's low byte is processUsed or, in a free row, 0. Any other value comes from a stray store, and the row
// then counts as free and unused; its member is told so by errDisplaced.
const processUsed = 1

// usedWord returns the word of a process row that this incarnation uses.
func usedWord(incarnation uint32) uint64 { return freedWord(incarnation) | processUsed }

// freedWord returns the word of a free process row that this incarnation used last. The incarnation stays in it, so that
// the next user gets the next one.
func freedWord(incarnation uint32) uint64 { return uint64(incarnation) << 8 }

// wordIncarnation returns the incarnation in a process word, used or free.
func wordIncarnation(processWord uint64) uint32 { return uint32(processWord >> 8) }

// isUsedWord reports whether a process word is that of a used row. Whether its user lives is the Witness's to say.
func isUsedWord(processWord uint64) bool { return processWord&0xff == processUsed }

const (
	Free       SegmentState = iota // no segment
	Creating                       // the object may exist; its agent is making it
	Live                           // the object exists, and can be attached
	Destroying                     // the object may exist; its agent, if there is one, is removing it
)

func (s SegmentState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "corrupt"
}

var stateNames = [...]string{"free", "creating", "live", "destroying"}

// nobody is the agent's row of a destroying row whose destroy failed. No process has that row: MaxProcesses is smaller.
const nobody = 0xffff

// segmentWord packs a state and the agent that is at work in it. A row without an agent has 0 for both of its parts.
func segmentWord(s SegmentState, agent int, incarnation uint32) uint64 {
	return uint64(s) | uint64(agent)<<8 | uint64(incarnation)<<24
}

// wordState returns the state in a segment word.
func wordState(w uint64) SegmentState { return SegmentState(w) }

// wordAgent returns the agent in a segment word. The row may be any 16-bit number: compare it before using it as an index.
func wordAgent(w uint64) (row int, inc uint32) { return int(w >> 8 & 0xffff), uint32(w >> 24) }

// wordHasAgent reports whether a row's object is in the hands of a process.
func wordHasAgent(w uint64) bool {
	agent, _ := wordAgent(w)
	return wordState(w) == Creating || wordState(w) == Destroying && agent != nobody
}

// pinState is how far the instance has come in holding a reference of its own to a segment. See pin.go for the moves.
type pinState = uint32

const (
	unpinned  pinState = iota
	pinWanted          // the supervisor has yet to open the object
	pinned

	root pinState = 4 // added to one of those: sessions find this segment without knowing its handle
)

// wordAgentIsCurrent reports whether the agent in a segment word is the present user of its process row. It does not ask
// whether that user lives.
func (t *Table) wordAgentIsCurrent(w uint64) bool {
	row, incarnation := wordAgent(w)
	return row < len(t.processes) && t.processes[row].word.Load() == usedWord(incarnation)
}

// unpublishedWord returns the word of a live row that this member has carved, and that no other process may attach
// yet: live refuses it, since it is not the plain word of a live row.
func (m *Member) unpublishedWord() uint64 { return segmentWord(Live, m.row, m.incarnation) }

// stampWord returns the word of a row in state s whose agent is this member; live rows have no agent.
func (m *Member) stampWord(s SegmentState) uint64 {
	if s == Live {
		return segmentWord(Live, 0, 0)
	}
	return segmentWord(s, m.row, m.incarnation)
}
