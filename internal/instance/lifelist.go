package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// roster is the file lives: every life that may have memory in the system, so that the next start can judge it, and the
// last hundred that have not, for people who find an object and ask whose it was. A life is listed before anything else
// of it is made, and struck when nothing of it is left.
type roster struct {
	Lives []Record    `json:"lives"`
	Past  []uuid.UUID `json:"past"`
}

const pastLives = 100

const membersPrefix = "members."

// readRoster reads the file lives, and adds what the directory's other files tell of lives, should it be lost. An error
// says that the system refused to look.
func (d *Dir) readRoster(log zerolog.Logger) (roster, error) {
	var s roster
	switch err := atomicfile.ReadIn(d.Folder, "lives", &s); {
	case err == nil, errors.Is(err, fs.ErrNotExist):
	case refused(err) != nil:
		return s, err
	default:
		log.Warn().Err(err).Str("event", "lives-lost").Msg("the file lives can't be used; lives are looked for by the other files")
		s = roster{}
	}
	s.Lives = slices.DeleteFunc(s.Lives, func(r Record) bool { return r.check("") != nil })
	r, err := d.ReadRecord()
	switch {
	case err == nil:
		s.add(r)
	case refused(err) != nil:
		return s, err
	}
	names, err := d.Names()
	if err != nil {
		return s, refused(err)
	}
	id, known, _ := d.readID()
	for _, name := range names {
		if r, ok := lifeOf(name, id, known); ok {
			s.add(r)
		}
	}
	return s, nil
}

// add lists a life unless it is listed, or known to be past.
func (s *roster) add(r Record) {
	if !slices.ContainsFunc(s.Lives, r.same) && !s.isPast(r) {
		s.Lives = append(s.Lives, r)
	}
}

func (s *roster) isPast(r Record) bool {
	return !r.unnamed() && slices.ContainsFunc(s.Past, func(life uuid.UUID) bool {
		return dsmimpl.ShortID(life) == dsmimpl.ShortID(r.Life)
	})
}

// lifeOf returns what a members file's name tells of its life. Of an earlier version it is the generation alone.
func lifeOf(name string, id identity, known bool) (r Record, ok bool) {
	rest, ok := strings.CutPrefix(name, membersPrefix)
	if !ok {
		return r, false
	}
	if life, ok := dsmimpl.ParseLifeText(rest); ok {
		return Record{Life: life}, life != uuid.Nil
	}
	n, err := strconv.ParseUint(rest, 10, 64)
	r = Record{Instance: id.Instance, Life: id.Instance, Layout: lastUnnamedLayout, Generation: n}
	return r, known && err == nil && plausible(n) && r.members() == name
}

// Restore writes again the files that joining and the next start need for the present life, where they do not tell of it
// any more, and returns which: with the error where that failed. Where the system refuses to look nothing is done. The
// caller holds the directory's lock.
func (d *Dir) Restore(r Record, log zerolog.Logger) map[string]error {
	restored := map[string]error{}
	if now, err := d.ReadRecord(); refused(err) == nil && (err != nil || !now.same(r)) {
		restored["instance"] = d.WriteRecord(r)
	}
	if id, known, err := d.readID(); known && refused(err) == nil && err != nil {
		id.Dir = d.Identity()
		restored["id"] = atomicfile.WriteIn(d.Folder, "id", id)
	}
	var s roster
	err := atomicfile.ReadIn(d.Folder, "lives", &s)
	if refused(err) == nil && (err != nil || !slices.ContainsFunc(s.Lives, r.same)) {
		if s, err = d.readRoster(log); err == nil {
			s.add(r)
			err = d.writeRoster(s)
		}
		restored["lives"] = err
	}
	return restored
}

// enroll lists a new life.
func (d *Dir) enroll(r Record, log zerolog.Logger) error {
	s, err := d.readRoster(log)
	if err != nil {
		return err
	}
	s.Lives = append(s.Lives, r)
	return d.writeRoster(s)
}

// strike takes a life off the list, of which nothing is left.
func (d *Dir) strike(r Record, log zerolog.Logger) error {
	s, err := d.readRoster(log)
	if err != nil {
		return err
	}
	s.Lives = slices.DeleteFunc(s.Lives, r.same)
	if !r.unnamed() && !s.isPast(r) {
		s.Past = append(s.Past, r.Life)
		s.Past = s.Past[max(0, len(s.Past)-pastLives):]
	}
	failpoint.Hit("instance/strike/before")
	return d.writeRoster(s)
}

func (d *Dir) writeRoster(s roster) error {
	if err := atomicfile.WriteIn(d.Folder, "lives", s); err != nil {
		return fmt.Errorf("file lives: %w", err)
	}
	return nil
}

// removeMembers removes a life's members file, with the files of its rows where there are such.
func (d *Dir) removeMembers(r Record) {
	names, _ := d.Names()
	for _, name := range names {
		if strings.HasPrefix(name, r.members()+".") {
			_ = d.Folder.Remove(name)
		}
	}
	_ = d.Folder.Remove(r.members())
}
