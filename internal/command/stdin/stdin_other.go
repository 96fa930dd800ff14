//go:build !unix

package stdin

import "os"

// There is no portable way to ask whether a read would block: only what is no pipe and no terminal counts as ended.
func readable(f *os.File) bool {
	info, err := f.Stat()
	return err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0
}

func ended(f *os.File) bool {
	n, _ := f.Read(make([]byte, 1))
	return n == 0
}
