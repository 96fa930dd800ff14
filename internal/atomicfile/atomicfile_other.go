//go:build !unix

package atomicfile

import "os"

func open(path string) (*os.File, error) { return os.Open(path) }

// A directory can't be synced here; the system orders renames itself.
func syncDir(string) error { return nil }
