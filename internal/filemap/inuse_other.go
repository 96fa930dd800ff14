//go:build darwin || freebsd

package filemap

import (
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/folder"
)

// InUse is ErrUnsupported: no call here tells who has a file open.
func InUse(*folder.Folder, string) (bool, error) { return false, errkind.Unsupported }

func overwritable(int) {}
