//go:build !unix

package stdin

import "os"

// readable reports whether a read would return at once. There is no portable way to ask that: of a pipe or a terminal it is
// false, and those never count as ended.
func readable(f *os.File) bool {
	info, err := f.Stat()
	return err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0
}

// ended reports whether what is readable is the end. It reads a byte, which is lost.
func ended(f *os.File) bool {
	n, _ := f.Read(make([]byte, 1))
	return n == 0
}
