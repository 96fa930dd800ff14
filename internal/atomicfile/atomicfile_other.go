//go:build !unix

package atomicfile

import (
	"io/fs"
	"os"
)

func open(path string) (*os.File, error) { return os.Open(path) }

func trusted(string, fs.FileInfo) error { return nil }

// A directory can't be synced here; the system orders renames itself.
func syncDir(string) error { return nil }
