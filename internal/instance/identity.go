package instance

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// identity is the file id: what people call the instance by. Nothing is removed or spared for it.
type identity struct {
	Instance uuid.UUID         `json:"instance"`
	Dir      liveness.Identity `json:"dir"`
	Boot     string            `json:"boot"`
}

// readID reads the file id; where it is lost, the file instance stands in for it. Known is false if both are missing.
func (d *Dir) readID() (id identity, known bool, err error) {
	idErr := atomicfile.ReadIn(d.Folder, "id", &id)
	if idErr == nil && id.Instance == uuid.Nil {
		idErr = fmt.Errorf("%s: %w", d.file("id"), atomicfile.ErrGarbage)
	}
	if idErr == nil {
		return id, true, nil
	}
	record, recordErr := d.ReadRecord()
	if err := errors.Join(refusedBySystem(idErr), refusedBySystem(recordErr)); err != nil {
		return id, false, err // whether they are lost can't be told now
	}
	if recordErr == nil {
		return identity{record.Instance, record.Dir, record.Boot}, true, idErr
	}
	return identity{}, false, nil
}

// identityOf returns the instance's uuid: a new one if the directory has none, or is not where that was written. The
// caller holds the directory's lock.
func (d *Dir) identityOf(log zerolog.Logger) (uuid.UUID, error) {
	id, known, err := d.readID()
	if err != nil && !known {
		return uuid.Nil, err
	}
	boot, err2 := bootID()
	if err2 != nil {
		return uuid.Nil, err2
	}
	now := identity{id.Instance, d.Identity(), boot}
	switch {
	case known && err == nil && now == id:
		return id.Instance, nil
	case known && errors.Is(err, fs.ErrNotExist):
		log.Warn().Err(err).Str("event", "id-lost").Msg("the file id is lost; it is written again from the file instance")
	case known && !d.isWrittenHere(id):
		log.Info().Stringer("before", id.Instance).Str("dir", d.Path).
			Str("event", "id-drawn").Msg("the directory is not where it was: copied, or mounted anew; the instance gets a new id")
	}
	if !known || !d.isWrittenHere(id) {
		if now.Instance, err = uuid.NewRandom(); err != nil {
			return uuid.Nil, err
		}
	}
	return now.Instance, atomicfile.WriteIn(d.Folder, "id", now)
}

// isWrittenHere reports whether id was written in this very directory, as far as device and inode tell: device numbers
// may change when the machine starts again, and a snapshot has the inode too.
func (d *Dir) isWrittenHere(id identity) bool {
	boot, _ := bootID()
	here := d.Identity()
	return id.Dir.Ino == here.Ino && (id.Dir.Dev == here.Dev || id.Boot != boot)
}
