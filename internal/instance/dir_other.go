//go:build !(linux || darwin || freebsd || windows)

package instance

import (
	"io/fs"
	"os"

	"github.com/godsm/godsm/internal/errkind"
)

func checkOwner(string, fs.FileInfo) error { return errkind.Unsupported }

func (d *Dir) tryLock() (unlock func(), held bool, err error) { return nil, false, errkind.Unsupported }

// Remove removes the directory, whose lock the caller holds, and with it the lock.
func (d *Dir) Remove(unlock func()) error {
	defer unlock()
	return os.RemoveAll(d.Path)
}
