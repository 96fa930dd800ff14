//go:build !(linux || darwin || freebsd || windows)

package liveness

import (
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/folder"
)

// Roll does not exist on this system: it has no backend either.
type Roll struct{}

func CreateIn(*folder.Folder, string) error        { return errkind.Unsupported }
func OpenIn(*folder.Folder, string) (*Roll, error) { return nil, errkind.Unsupported }
func (*Roll) Identity() Identity                   { return Identity{} }
func (*Roll) Take(int) (bool, error)               { return false, errkind.Unsupported }
func (*Roll) Drop(int) error                       { return errkind.Unsupported }
func (*Roll) Held(int) bool                        { return true }
func (*Roll) Close()                               {}
