package endtest

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"time"

	"github.com/godsm/godsm/internal/sys/filemap"
)

// garble is a neighbour that writes over a segment for some milliseconds, and mostly over its first pages.
func garble(rnd *rand.Rand, paths []string) (n int) {
	for _, path := range paths {
		i, err := os.Stat(path)
		if err != nil {
			continue
		}
		b, err := filemap.Open(nil, path, int(i.Size()), true)
		if err != nil {
			continue
		}
		defer filemap.Unmap(b)
		for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); n++ {
			over(rnd, b)
			time.Sleep(time.Duration(rnd.IntN(500)) * time.Microsecond)
		}
		return n
	}
	return 0
}

// over stores something that does not belong there.
func over(rnd *rand.Rand, b []byte) {
	most := len(b)
	if rnd.IntN(4) > 0 {
		most = min(most, []int{512, 4096, 32768}[rnd.IntN(3)])
	}
	at := rnd.IntN(most/8) * 8
	word := b[at : at+8]
	switch rnd.IntN(7) {
	case 0, 1:
		word[rnd.IntN(8)] ^= 1 << rnd.IntN(8)
	case 2:
		binary.NativeEndian.PutUint64(word, rnd.Uint64())
	case 3:
		binary.NativeEndian.PutUint64(word, uint64(rnd.IntN(4096)))
	case 4:
		binary.NativeEndian.PutUint32(word[4*rnd.IntN(2):], rnd.Uint32N(64))
	case 5:
		copy(word, b[rnd.IntN(most/8)*8:])
	case 6:
		for i := range b[at:min(at+64, len(b))] {
			b[at+i] = byte(rnd.Uint32())
		}
	}
}
