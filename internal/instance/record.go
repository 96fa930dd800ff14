package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/atomicfile"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/liveness"
	"github.com/godsm/godsm/internal/settings"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Record is what the file instance says of the present life, or of the last one.
type Record struct {
	Instance      uuid.UUID         `json:"instance"`
	Generation    uint64            `json:"generation"`
	Backend       string            `json:"backend"`
	Control       string            `json:"control"` // where a person finds the control segment
	MmapDirectory string            `json:"mmap_directory"`
	Private       bool              `json:"private"`
	Settings      map[string]string `json:"settings"` // the supervisor's, for the instance's life
	SupervisorPid int               `json:"supervisor_pid"`
	Boot          string            `json:"boot"`
	Dir           liveness.Identity `json:"dir"`
}

// ReadRecord reads the file instance. A missing one is ErrNoInstance, a damaged one ErrCorrupt.
func (d *Dir) ReadRecord() (Record, error) {
	var r Record
	switch err := atomicfile.Read(d.file("instance"), &r); {
	case errors.Is(err, fs.ErrNotExist):
		return r, NoInstance(d.Path, "nothing has been started there")
	case errors.Is(err, atomicfile.ErrGarbage):
		return r, errkind.As(errkind.Corrupt, err)
	case err != nil:
		return r, errkind.Classify(err)
	}
	if r.Instance == uuid.Nil || !plausible(r.Generation) || r.Backend == "" {
		return Record{}, errkind.As(errkind.Corrupt,
			fmt.Errorf("%s: its instance, generation or backend can't be right", d.file("instance")))
	}
	return r, nil
}

// Stale says whether a later life than r's has begun, as far as the file tells.
func (d *Dir) Stale(r Record) bool {
	now, err := d.ReadRecord()
	return err == nil && (now.Instance != r.Instance || now.Generation != r.Generation)
}

// Disagreement says which of the settings that a session states differ from the instance's; nil if none does.
func (r Record) Disagreement(s *settings.Settings) error {
	var faults []error
	for _, x := range s.Stated() {
		if is, ok := r.Settings[x.Name]; ok && is != x.Value {
			faults = append(faults, fmt.Errorf("%s: %s = %s, but the running instance has %s",
				x.Source, x.Name, x.Value, is))
		}
	}
	return errors.Join(faults...)
}

// lastingSettings are those that hold for an instance's life and that sessions must agree to.
var lastingSettings = []string{"dynamic_shared_memory_type", "mmap_directory", "max_processes", "max_segments",
	"max_segments_per_process", "max_memory", "max_memory_per_process", "min_dynamic_shared_memory",
	"on_crash", "shutdown_timeout"}

func lasting(s *settings.Settings) map[string]string {
	m := map[string]string{}
	for _, x := range s.List {
		if slices.Contains(lastingSettings, x.Name) {
			m[x.Name] = x.Value
		}
	}
	return m
}

// identity is the file id.
type identity struct {
	Instance uuid.UUID         `json:"instance"`
	Dir      liveness.Identity `json:"dir"`
	Boot     string            `json:"boot"`
}

// identify finds out whose directory this is, and draws a uuid if it is nobody's yet or a copy of somebody's. A
// copy's own files of the original's life are removed; nothing outside the directory is touched.
// The caller holds the lock.
func (d *Dir) identify(log zerolog.Logger) (uuid.UUID, error) {
	var id identity
	idErr := atomicfile.Read(d.file("id"), &id)
	if idErr == nil && id.Instance == uuid.Nil {
		idErr = fmt.Errorf("%s: %w", d.file("id"), atomicfile.ErrGarbage)
	}
	record, recordErr := d.ReadRecord()
	if err := errors.Join(refused(idErr), refused(recordErr)); err != nil {
		return uuid.Nil, err // whether they are lost can't be told now
	}
	if idErr != nil && recordErr == nil { // each of the two files can stand in for the other
		id = identity{record.Instance, record.Dir, record.Boot}
	}
	switch known := idErr == nil || recordErr == nil; {
	case known && d.is(id):
		if idErr == nil {
			return id.Instance, nil
		}
		log.Warn().Err(idErr).Stringer("instance", id.Instance).
			Msg("the file id is lost; it is written again from the file instance")
		return id.Instance, d.writeID(id.Instance)
	case known:
		log.Warn().Stringer("original", id.Instance).Str("dir", d.Path).
			Msg("the directory is a copy of another instance's; this is a new instance")
		d.forgetOriginal(id.Instance)
	case !errors.Is(idErr, fs.ErrNotExist) || !errors.Is(recordErr, errkind.NoInstance):
		log.Error().AnErr("id", idErr).AnErr("instance_file", recordErr).
			Msg("both files that name the instance are lost; this is a new instance, and objects " +
				"of the old one can't be found")
		d.forgetOriginal(uuid.Nil)
	}
	failpoint.Hit("instance/identify/unknown")
	fresh, err := uuid.NewRandom()
	if err != nil {
		return fresh, err
	}
	return fresh, d.writeID(fresh)
}

func (d *Dir) writeID(id uuid.UUID) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	return atomicfile.Write(d.file("id"), identity{id, d.id, boot})
}

// refused is err if it is the system's refusal to look, which says nothing about what is there; else nil.
func refused(err error) error {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EACCES,
		syscall.EPERM, syscall.EINTR, syscall.EIO} {
		if errors.Is(err, errno) {
			return err
		}
	}
	return nil
}

// is says whether id was written in this very directory. Device numbers may change when the machine starts again,
// inodes don't.
func (d *Dir) is(id identity) bool {
	boot, _ := bootID()
	return id.Dir.Ino == d.id.Ino && (id.Dir.Dev == d.id.Dev || id.Boot != boot)
}

// forgetOriginal removes from a copied directory what was copied of a life.
func (d *Dir) forgetOriginal(original uuid.UUID) {
	_ = os.Remove(d.file("instance"))
	d.removeMembers(func(uint64) bool { return true })
	if info, err := os.Lstat(d.file("mmap")); err != nil || !info.IsDir() {
		return // a link would lead to the original's
	}
	entries, _ := os.ReadDir(d.file("mmap"))
	for _, e := range entries {
		if short, _, _, ok := dsmimpl.ParseName(e.Name()); ok &&
			(short == dsmimpl.ShortID(original) || original == uuid.Nil) {
			_ = os.Remove(filepath.Join(d.file("mmap"), e.Name()))
		}
	}
}

// removeMembers removes the members files of the generations for which gone is true, with the files of their
// rows where there are such.
func (d *Dir) removeMembers(gone func(generation uint64) bool) {
	for _, g := range d.generations() {
		if !gone(g) {
			continue
		}
		rows, _ := filepath.Glob(globEscape(d.members(g)) + ".*")
		for _, path := range append(rows, d.members(g)) {
			_ = os.Remove(path)
		}
	}
}

func globEscape(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}
