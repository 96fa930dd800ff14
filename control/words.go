package control

// The words of rows are packed: state and owner are one store, so no process ever sees the one without the other. This
// file packs and unpacks them. It knows nothing of which moves between states are legal; the package comment does.

// A process word's low byte is processUsed or, in a free row, 0. Any other value comes from a stray store, and the row
// then counts as free and unused; its member is told so by errDisplaced.
const processUsed = 1

// usedBy returns the word of a process row that this incarnation uses.
func usedBy(incarnation uint32) uint64 { return freedBy(incarnation) | processUsed }

// freedBy returns the word of a free process row that this incarnation used last. The incarnation stays in it, so that
// the next user gets the next one.
func freedBy(incarnation uint32) uint64 { return uint64(incarnation) << 8 }

// incarnationOf returns the incarnation in a process word, used or free.
func incarnationOf(processWord uint64) uint32 { return uint32(processWord >> 8) }

// isUsed reports whether a process word is that of a used row. Whether its user lives is the Witness's to say.
func isUsed(processWord uint64) bool { return processWord&0xff == processUsed }

// SegmentState is how far the making or removal of a segment has come. A value above Destroying comes from a stray
// store.
type SegmentState uint8

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

// stateOf returns the state in a segment word.
func stateOf(w uint64) SegmentState { return SegmentState(w) }

// agentOf returns the agent in a segment word. The row may be any 16-bit number: compare it before using it as an index.
func agentOf(w uint64) (row int, inc uint32) { return int(w >> 8 & 0xffff), uint32(w >> 24) }

// isAgented reports whether a row's object is in the hands of a process.
func isAgented(w uint64) bool {
	agent, _ := agentOf(w)
	return stateOf(w) == Creating || stateOf(w) == Destroying && agent != nobody
}

// pinState is how far the instance has come in holding a reference of its own to a segment. See pin.go for the moves.
type pinState = uint32

const (
	unpinned  pinState = iota
	pinWanted          // the supervisor has yet to open the object
	pinned

	root pinState = 4 // added to one of those: sessions find this segment without knowing its handle
)

// isRoot reports whether a pin word is that of the root segment. An unpinned root is invalid, and not one.
func isRoot(w pinState) bool { return w == root|pinned || w == root|pinWanted }

// pinOf returns what a pin word says but for the root's mark.
func pinOf(w pinState) pinState { return w &^ root }

// rowCheck binds a row's handle, size, osWord and page together, so that a flipped bit can't make a session map or
// remove what it was not meant to. The seed follows from the header's constants, so a row that is copied from another
// generation is not sound either.
func rowCheck(seed, handle, size, osWord uint64, page uint32) uint64 {
	return mix(mix(mix(seed^handle)^size) ^ osWord ^ uint64(page)<<32) // one of the last two is 0
}

// mix returns the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// isCurrentAgent reports whether the agent in a segment word is the present user of its process row. It does not ask
// whether that user lives.
func (t *Table) isCurrentAgent(w uint64) bool {
	row, incarnation := agentOf(w)
	return row < len(t.processes) && t.processes[row].word.Load() == usedBy(incarnation)
}
