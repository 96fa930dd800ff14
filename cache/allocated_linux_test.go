package cache_test

import (
	"os"
	"path/filepath"
	"syscall"
)

// allocated returns how much memory the object of that size has, 0 if it is not found.
func allocated(size int64) int64 {
	list, _ := filepath.Glob("/dev/shm/*")
	for _, path := range list {
		if i, err := os.Stat(path); err == nil && i.Size() == size {
			return i.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return 0
}
