package dsmimpl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/google/uuid"
)

// ListDir is Lister's work for backends whose objects are files of one directory: the regular files, owned
// by this user, whose names bear the instance. A missing directory has none.
func ListDir(dir string, instance uuid.UUID) ([]Object, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []Object
	for _, e := range entries {
		id, generation, handle, ok := ParseName(e.Name())
		if !ok || id != ShortID(instance) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil || !ownedByUs(info) {
			continue // gone meanwhile, or not ours after all
		}
		found = append(found, Object{Instance: instance, Generation: generation, Handle: handle,
			Size: int(info.Size())})
	}
	return found, errkind.Classify(err)
}

// CheckSize is the check that every Create begins with.
func CheckSize(n int) error {
	if n <= 0 {
		return errkind.As(ErrSize, fmt.Errorf("a segment of %d bytes: the size must be at least 1", n))
	}
	return nil
}
