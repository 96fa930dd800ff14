package endtest

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"time"
)

// garble is a neighbour that writes over a segment for some milliseconds, and mostly over its first pages.
func garble(rnd *rand.Rand, paths []string) (n int) {
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		defer f.Close()
		for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end) && storeOver(rnd, f) == nil; n++ {
			time.Sleep(time.Duration(rnd.IntN(500)) * time.Microsecond)
		}
		return n
	}
	return 0
}

// storeOver stores something into a file that does not belong there.
func storeOver(rnd *rand.Rand, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	most := int(info.Size())
	if rnd.IntN(4) > 0 {
		most = min(most, []int{512, 4096, 32768}[rnd.IntN(3)])
	}
	at := int64(rnd.IntN(most/8)) * 8
	word := make([]byte, 8)
	if _, err := f.ReadAt(word, at); err != nil {
		return err
	}
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
		_, err = f.ReadAt(word, int64(rnd.IntN(most/8))*8)
	case 6:
		word = make([]byte, min(64, most-int(at)))
		for i := range word {
			word[i] = byte(rnd.Uint32())
		}
	}
	if err == nil {
		_, err = f.WriteAt(word, at)
	}
	return err
}
