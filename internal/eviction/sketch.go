package eviction

// Sketch counts how often hashes have been added lately, each up to 15 and possibly too high, in words of sixteen
// counters. All values of the words are valid. The words are written by one goroutine at a time.
//
// A hash has four counters in one line of eight words, so that counting touches one cache line. Counters age by a hand:
// every few additions it halves those of one word.
type Sketch struct {
	words []uint64
	hand  *uint64 // additions, from which the hand's place follows
}

// SketchWords returns how many words count n entries well.
func SketchWords(n int) int { return max(8, (n+7)&^7) }

// perWord is after how many additions the next word is halved: a counter is halved once in ten additions for each entry
// that the sketch is made for.
const perWord = 10

// NewSketch returns the sketch in words, whose number is a multiple of 8, and in hand.
func NewSketch(words []uint64, hand *uint64) Sketch { return Sketch{words, hand} }

// line returns where the line of a hash begins.
func (s Sketch) line(h uint64) []uint64 {
	i := int(h>>32*uint64(len(s.words)/8)>>32) * 8
	return s.words[i : i+8 : i+8]
}

// At returns a word of the line that Add and Count look at for a hash, for a caller that has the processor fetch it ahead.
func (s Sketch) At(h uint64) *uint64 { return &s.line(h)[0] }

// sketchPlace returns the four counters of a hash: two words each have one of them.
func sketchPlace(h uint64, row int) (word int, shift uint64) {
	h >>= 5 * row
	return row*2 + int(h&1), h >> 1 & 15 * 4
}

// Add counts one more.
func (s Sketch) Add(h uint64) {
	if len(s.words) == 0 {
		return
	}
	line := s.line(h)
	for row := range 4 {
		word, shift := sketchPlace(h, row)
		if line[word]>>shift&15 < 15 {
			line[word] += 1 << shift
		}
	}
	n := *s.hand + 1
	*s.hand = n
	if n%perWord == 0 {
		w := &s.words[n/perWord%uint64(len(s.words))]
		*w = *w >> 1 & 0x7777_7777_7777_7777
	}
}

// Count returns how often the hash has been added lately.
func (s Sketch) Count(h uint64) int {
	if len(s.words) == 0 {
		return 0
	}
	line, least := s.line(h), uint64(15)
	for row := range 4 {
		word, shift := sketchPlace(h, row)
		least = min(least, line[word]>>shift&15)
	}
	return int(least)
}
