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
const (
	chunkShift = 16
	chunkSize  = 1 << chunkShift
	align      = 16
	maxClasses = 96 // room in the area's header
	maxSmall   = 8 << 10
)

type class struct {
	size    uint64
	inverse uint64 // 2^40 / size, rounded up: a division by multiplication
	objects int
	words   int // of a span's bitmap
	chunks  int
	slack   uint64 // what an object leaves unused is less, but in checked mode
	stripe  int
	id      int    // its index
	last    uint64 // the bits of the last word that stand for no block
}

var (
	classes = makeClasses()
	// classOfSmall is the class by size in units of 16.
	classOfSmall = func() (t [maxSmall/align + 1]uint8) {
		for i, c := 0, 0; i < len(t); i++ {
			if uint64(i*align) > classes[c].size {
				c++
			}
			t[i] = uint8(c)
		}
		return t
	}()
	maxClass = classes[len(classes)-1].size
)

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

// classOf returns the class for n bytes, which is at most maxClass.
func classOf(n uint64) int {
	if n <= maxSmall {
		return int(classOfSmall[(n+align-1)/align])
	}
	c := int(classOfSmall[maxSmall/align])
	for classes[c].size < n {
		c++
	}
	return c
}

// index returns the block that begins rel bytes into a span; false if none begins there.
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

func lowest(w uint64) int { return bits.TrailingZeros64(w) }

func ones(w uint64) int { return bits.OnesCount64(w) }
