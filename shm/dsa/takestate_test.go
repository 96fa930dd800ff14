package dsa

type modelStore struct{ word, value uint8 }

// Operations of a session; each is a program of steps, at.
const (
	opIdle = iota
	opAlloc
	opFree
	opCollect
	opGive
	opTake
	opRecover
)

type modelSession struct {
	op, at       uint8
	mine         uint8 // the life by which it has the span; 0: it has not
	used, block  uint8
	dead         bool
	buffer       [4]modelStore
	buffered     uint8
	allocs, work uint8 // what it may still begin
}

type modelState struct {
	word     [3]uint8 // used and the notes
	freed    uint8
	kind     uint8 // kindOwned, kindPartial or kindContested, shifted down
	owner    uint8
	life     uint8
	lock     uint8 // session plus one
	holder   [2]uint8
	mayDie   bool
	sessions [2]modelSession
}

const (
	mOwned = iota
	mPartial
	mContested
)
