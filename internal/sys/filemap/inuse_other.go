//go:build darwin || freebsd

package filemap

import (
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/folder"
)

// InUse returns ErrUnsupported: no call of this system tells which processes have a file open.
func InUse(*folder.Folder, string) (bool, error) { return false, errkind.Unsupported }

func overwritable(int) {}
