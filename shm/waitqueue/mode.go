package waitqueue

// Mode is how a lock is held. The zero Mode is none.
type Mode uint8

// The modes, each of which Covers those that are weaker. Intent modes are for what contains what is locked.
const (
	None            Mode = iota
	IntentShared         // something inside is shared
	IntentExclusive      // something inside is exclusive
	Shared               // any number at once
	SharedIntent         // shared as a whole, and something inside is exclusive
	Exclusive            // alone
	modes           = iota
)

var names = [modes]string{"none", "intent shared", "intent exclusive", "shared", "shared intent exclusive", "exclusive"}

func (m Mode) String() string {
	if m >= modes {
		return "invalid mode"
	}
	return names[m]
}

// conflicts has, of each mode, a bit for each mode that it can't be held beside.
var conflicts = [8]uint8{
	IntentShared:    1 << Exclusive,
	IntentExclusive: 1<<Shared | 1<<SharedIntent | 1<<Exclusive,
	Shared:          1<<IntentExclusive | 1<<SharedIntent | 1<<Exclusive,
	SharedIntent:    1<<IntentExclusive | 1<<Shared | 1<<SharedIntent | 1<<Exclusive,
	Exclusive:       1<<IntentShared | 1<<IntentExclusive | 1<<Shared | 1<<SharedIntent | 1<<Exclusive,
}

// Conflicts reports whether two holders can't have m and o at once.
func (m Mode) Conflicts(o Mode) bool { return conflicts[m&7]>>(o&7)&1 != 0 }

// Covers reports whether who holds m needs nothing more to do what o allows.
func (m Mode) Covers(o Mode) bool { return conflicts[m&7]&conflicts[o&7] == conflicts[o&7] }

// Join returns the weakest mode that covers both.
func (m Mode) Join(o Mode) Mode {
	for j := m; j < modes; j++ {
		if j.Covers(m) && j.Covers(o) {
			return j
		}
	}
	for j := o; j < modes; j++ {
		if j.Covers(m) && j.Covers(o) {
			return j
		}
	}
	return Exclusive
}

// Writes reports whether a holder in mode m may have been writing when it died.
func (m Mode) Writes() bool { return m == Exclusive || m == IntentExclusive || m == SharedIntent }

// Intent returns the mode in which what contains something is held while that is held in mode m.
func (m Mode) Intent() Mode {
	if m.Writes() {
		return IntentExclusive
	}
	return IntentShared
}
