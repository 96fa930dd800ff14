package dsa

import "math/bits"

// A block's size is that of a class. Each is the largest multiple of 16 of which a certain number
// fits into a span, and at most an eighth above the one before (a quarter near the end of each
// tier): so blocks waste little, and spans nearly nothing.
//
//	objects up to  live in spans of
//	8 KiB          64 KiB, one chunk
//	64 KiB         256 KiB
//	256 KiB        1 MiB
//	more           chunks of their own
//
// The table of classes is part of the layout: shared memory has indexes into it, and each process computes it for
// itself. So a change of it is a change of the version.
const (
	chunkShift = 16
	chunkSize  = 1 << chunkShift
	// align is what each object's place is a multiple of.
	align = 16
	// maxClasses is for how many classes the area's header has room.
	maxClasses = 96
	// maxSmall is the largest size that smallClasses knows.
	maxSmall = 8 << 10
)

// class describes the blocks of one size. It is never written after the package has been initialized.
type class struct {
	// size is a block's, in bytes.
	size uint64
	// inverse is 2^40 / size, rounded up: so index can divide by a multiplication.
	inverse uint64
	// objects is how many blocks a span has.
	objects int
	// words is how many words a span's bitmap has.
	words int
	// chunks is how many chunks a span has.
	chunks int
	// slack is size less the size of the class below. An object leaves less than that of its block unused, except in
	// checked mode; a pointer that says otherwise is none of this class.
	slack uint64
	// stripe is the number of the stripe that the class shares with others.
	stripe int
	// id is the class's index.
	id int
	// last has the bits of the bitmap's last word that stand for no block. They are set in used as long as the span
	// lives.
	last uint64
}

var (
	// classes are in the order of their sizes.
	classes = makeClasses()
	// smallClasses are the classes by size in units of 16.
	smallClasses = func() (t [maxSmall/align + 1]*class) {
		for i, c := 0, 0; i < len(t); i++ {
			if uint64(i*align) > classes[c].size {
				c++
			}
			t[i] = &classes[c]
		}
		return t
	}()
	// maxClass is the size of the largest block. A larger object has chunks of its own.
	maxClass = classes[len(classes)-1].size
)

// makeClasses returns the table of classes. Up to 128 bytes the sizes are the multiples of 16. From there on a size is
// the one that so many blocks of a span can have, where the number is the smallest that keeps the size within nine
// eighths of the one before; the last size of a tier is the tier's own.
func makeClasses() (list []class) {
	size := 0
	for _, tier := range []struct{ chunks, upTo int }{{1, maxSmall}, {4, 64 << 10}, {16, 256 << 10}} {
		total := tier.chunks * chunkSize
		for size < tier.upTo {
			if size < 128 {
				size += align
			} else {
				n := (total + size*9/8 - 1) / (size * 9 / 8)
				for total/n&^(align-1) <= size {
					n--
				}
				size = min(total/n&^(align-1), tier.upTo)
			}
			n := total / size
			below := uint64(0)
			if len(list) > 0 {
				below = list[len(list)-1].size
			}
			list = append(list, class{
				slack: uint64(size) - below,
				size:  uint64(size), inverse: (1<<40 + uint64(size) - 1) / uint64(size),
				objects: n, words: (n + 63) / 64, chunks: tier.chunks, stripe: len(list) % (stripes - 1),
				id: len(list), last: ^uint64(0) << ((n-1)%64 + 1),
			})
		}
	}
	return list
}

// classOf returns the index of the smallest class for n bytes, which is at most maxClass.
func classOf(n uint64) int {
	if n <= maxSmall {
		return smallClasses[(n+align-1)/align].id
	}
	c := smallClasses[maxSmall/align].id
	for classes[c].size < n {
		c++
	}
	return c
}

// index returns the block that begins rel bytes into a span, and true; false if none begins there. For each rel inside
// a span the division is exact, which a test proves for each class; for a larger one the comparison fails. So a pointer
// into the middle of a block, or behind a span's last block, is refused.
func (c *class) index(rel uint64) (int, bool) {
	i := rel * c.inverse >> 40
	return int(i), i*c.size == rel && i < uint64(c.objects)
}

// blocks returns the bits in word w of a span's bitmap that stand for blocks.
func (c *class) blocks(w int, bits uint64) uint64 {
	if w == c.words-1 {
		return bits &^ c.last
	}
	return bits
}

// wordsFor returns how many words n bits take.
func wordsFor(n int) int { return (n + 63) / 64 }

// lowest returns the number of the lowest bit that is set; 64 if none is.
func lowest(w uint64) int { return bits.TrailingZeros64(w) }

// ones returns how many bits are set.
func ones(w uint64) int { return bits.OnesCount64(w) }

// fitsClass reports whether an object in a block of that class can have the pointer p: one that leaves so much unused
// would be in a block of a smaller class. In checked mode the slack is a generation, which the guard bytes tell.
func (a *Area) fitsClass(p Pointer, c *class) bool { return a.guard != 0 || p.slack() < c.slack }
