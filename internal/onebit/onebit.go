// Package onebit keeps a number in a 64-bit word so that one bit of the word that a stray store has changed is found
// and read as it was.
//
// The word is the number times 131. The numbers 2^k and -2^k, k from 0 to 63, leave different remainders by 131: so the
// remainder of a word that is no multiple tells which bit is wrong. The word of a sum is the sum of words.
package onebit

// Factor is what a word is a multiple of. A number is below Limit.
const (
	Factor = 131
	Limit  = (1<<64 - 1) / Factor
)

// Word returns the word of a number.
func Word(n uint64) uint64 { return n * Factor }

// Of returns the number of a word. If more than one bit of the word is wrong, it is any number.
func Of(w uint64) uint64 {
	if w%Factor == 0 {
		return w / Factor
	}
	for bit := uint64(1); bit != 0; bit <<= 1 {
		if (w^bit)%Factor == 0 {
			return (w ^ bit) / Factor
		}
	}
	return w / Factor
}
