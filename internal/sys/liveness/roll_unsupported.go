//go:build !(linux || darwin || freebsd || windows)

package liveness

import (
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/folder"
)

// Roll does not exist on this system: it has no backend either.
type Roll struct{}

// CreateIn fails with ErrUnsupported.
func CreateIn(*folder.Folder, string) error { return errkind.Unsupported }

// OpenIn fails with ErrUnsupported.
func OpenIn(*folder.Folder, string) (*Roll, error) { return nil, errkind.Unsupported }

// Identity returns that of no file.
func (*Roll) Identity() Identity { return Identity{} }

// Take fails with ErrUnsupported.
func (*Roll) Take(int) (bool, error) { return false, errkind.Unsupported }

// Drop fails with ErrUnsupported.
func (*Roll) Drop(int) error { return errkind.Unsupported }

// Held reports true for each row: where it can't be told, a row counts as held.
func (*Roll) Held(int) bool { return true }

// Close does nothing.
func (*Roll) Close() {}
