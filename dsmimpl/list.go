package dsmimpl

import (
	"errors"
	"io/fs"
	"os"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/google/uuid"
)

// ListDir does Lister's work for backends whose objects are files of one directory: the regular files, owned
// by this user, whose names bear the life. A missing directory has none.
func ListDir(dir string, life uuid.UUID) ([]Object, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errkind.Classify(err)
	}
	defer d.Close()
	return ListFiles(d, life)
}

// ListFiles is ListDir for a directory that is open.
func ListFiles(dir *os.File, life uuid.UUID) ([]Object, error) {
	entries, err := dir.ReadDir(-1)
	var found []Object
	for _, e := range entries {
		id, generation, handle, ok := ParseName(e.Name())
		if !ok || id != ShortID(life) || !e.Type().IsRegular() {
			continue
		}
		size, ours := lookOwned(dir, e)
		if !ours {
			continue // gone meanwhile, or not ours after all
		}
		found = append(found, Object{Life: life, Generation: generation, Handle: handle, Size: int(size)})
	}
	return found, errkind.Classify(err)
}
