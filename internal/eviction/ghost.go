package eviction

// Ghost remembers the hashes of entries that were dropped lately: each for as long as about as many others are dropped
// as the ghost was made for. It is a table of lines of eight words, each with a fingerprint and the time of the drop.
// All values of the words are valid. The words are written by one goroutine at a time.
type Ghost struct {
	words []uint32
	drops *uint64
}

const (
	ghostLine = 8
	timeBits  = 14
	timeMask  = 1<<timeBits - 1
)

// GhostWords returns how many words remember n entries: a fourth more, since some lines fill sooner than others.
func GhostWords(n int) int { return max(2*ghostLine, (n+n/4+ghostLine-1)&^(ghostLine-1)) }

// NewGhost returns the ghost in words, whose number GhostWords has returned, and in drops.
func NewGhost(words []uint32, drops *uint64) Ghost { return Ghost{words, drops} }

func (g Ghost) line(h uint64) []uint32 {
	i := int(h&(1<<32-1)*uint64(len(g.words)/ghostLine)>>32) * ghostLine
	return g.words[i : i+ghostLine : i+ghostLine]
}

// At returns a word of the line that Add and Take look at for a hash, for a caller that has the processor fetch it ahead.
func (g Ghost) At(h uint64) *uint32 { return &g.line(h)[0] }

// kept returns for how many drops a hash is remembered.
func (g Ghost) kept() uint64 { return uint64(len(g.words)) * 4 / 5 }

// now returns the time of drop n. A hash is remembered for a quarter of the times there are.
func (g Ghost) now() uint32 { return uint32(*g.drops*(timeMask/4)/g.kept()) & timeMask }

// age returns how long ago a word was written.
func (g Ghost) age(word uint32) uint32 { return (g.now() - word) & timeMask }

// fingerprintOf returns a hash's print, which is never 0.
func fingerprintOf(h uint64) uint32 { return uint32(h>>46) | 1 }

// Add remembers a hash, in the place of the oldest of its line.
func (g Ghost) Add(h uint64) {
	if len(g.words) == 0 {
		return
	}
	*g.drops++
	line, best := g.line(h), 0
	for i, w := range line {
		if w>>timeBits == fingerprintOf(h) || w == 0 {
			best = i
			break
		}
		if g.age(w) > g.age(line[best]) {
			best = i
		}
	}
	line[best] = fingerprintOf(h)<<timeBits | g.now()
}

// Take reports whether a hash is remembered, and forgets it.
func (g Ghost) Take(h uint64) bool {
	if len(g.words) == 0 {
		return false
	}
	line := g.line(h)
	for i, w := range line {
		if w>>timeBits == fingerprintOf(h) {
			line[i] = 0
			return g.age(w) <= timeMask/4
		}
	}
	return false
}
