package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// roster is the file lives: every life that may have memory in the system, so that the next start can judge it, and the
// last hundred that have not, for people who find an object and ask whose it was. A life is listed before anything else
// of it is made, and struck when nothing of it is left.
type lifeList struct {
	Lives []Record    `json:"lives"`
	Past  []uuid.UUID `json:"past"`
}

const pastLives = 100

const membersPrefix = "members."

// readLifeList reads the file lives, and adds what the directory's other files tell of lives, should it be lost. An
// error says that the system refused to look.
func (d *Dir) readLifeList(log zerolog.Logger) (lifeList, error) {
	var s lifeList
	switch err := atomicfile.ReadIn(d.Folder, "lives", &s); {
	case err == nil, errors.Is(err, fs.ErrNotExist):
	case refusedBySystem(err) != nil:
		return s, err
	default:
		log.Warn().Err(err).Str("event", "lives-lost").Msg("the file lives can't be used; lives are looked for by the other files")
		s = lifeList{}
	}
	s.Lives = slices.DeleteFunc(s.Lives, func(r Record) bool { return r.checkFields("") != nil })
	r, err := d.ReadRecord()
	switch {
	case err == nil:
		s.addUnlessPast(r)
	case refusedBySystem(err) != nil:
		return s, err
	}
	names, err := d.Names()
	if err != nil {
		return s, refusedBySystem(err)
	}
	id, known, _ := d.readID()
	for _, name := range names {
		if r, ok := lifeOfMembersFile(name, id, known); ok {
			s.addUnlessPast(r)
		}
	}
	return s, nil
}

// addUnlessPast lists a life unless it is listed, or known to be past.
func (s *lifeList) addUnlessPast(r Record) {
	if !slices.ContainsFunc(s.Lives, r.sameLife) && !s.isPast(r) {
		s.Lives = append(s.Lives, r)
	}
}

func (s *lifeList) isPast(r Record) bool {
	return !r.unnamed() && slices.ContainsFunc(s.Past, func(life uuid.UUID) bool {
		return dsmimpl.ShortID(life) == dsmimpl.ShortID(r.Life)
	})
}

// Restore writes again the files that joining and the next start need for the present life, where they do not tell of it
// any more, and returns which: with the error where that failed. Where the system refuses to look nothing is done. The
// caller holds the directory's lock.
func (d *Dir) Restore(r Record, log zerolog.Logger) map[string]error {
	restored := map[string]error{}
	if now, err := d.ReadRecord(); refusedBySystem(err) == nil && (err != nil || !now.sameLife(r)) {
		restored["instance"] = d.WriteRecord(r)
	}
	if id, known, err := d.readID(); known && refusedBySystem(err) == nil && err != nil {
		id.Dir = d.Identity()
		restored["id"] = atomicfile.WriteIn(d.Folder, "id", id)
	}
	var s lifeList
	err := atomicfile.ReadIn(d.Folder, "lives", &s)
	if refusedBySystem(err) == nil && (err != nil || !slices.ContainsFunc(s.Lives, r.sameLife)) {
		if s, err = d.readLifeList(log); err == nil {
			s.addUnlessPast(r)
			err = d.writeLifeList(s)
		}
		restored["lives"] = err
	}
	return restored
}

// addLife lists a new life.
func (d *Dir) addLife(r Record, log zerolog.Logger) error {
	s, err := d.readLifeList(log)
	if err != nil {
		return err
	}
	s.Lives = append(s.Lives, r)
	return d.writeLifeList(s)
}

// removeLife takes a life off the list, of which nothing is left.
func (d *Dir) removeLife(r Record, log zerolog.Logger) error {
	s, err := d.readLifeList(log)
	if err != nil {
		return err
	}
	s.Lives = slices.DeleteFunc(s.Lives, r.sameLife)
	if !r.unnamed() && !s.isPast(r) {
		s.Past = append(s.Past, r.Life)
		s.Past = s.Past[max(0, len(s.Past)-pastLives):]
	}
	failpoint.Hit("instance/strike/before")
	return d.writeLifeList(s)
}

func (d *Dir) writeLifeList(s lifeList) error {
	if err := atomicfile.WriteIn(d.Folder, "lives", s); err != nil {
		return fmt.Errorf("file lives: %w", err)
	}
	return nil
}

// RemoveOldLives judges the lives that the directory lists beside the present one, removes what dead processes left,
// and says how many are left. The caller holds the directory's lock.
func (d *Dir) RemoveOldLives(ctx context.Context, backends Backends, present Record, patience time.Duration, who control.Who,
	log zerolog.Logger) (left int) {
	s, err := d.readLifeList(log)
	if err != nil {
		return 1
	}
	l := &Last{Dir: d, backends: backends, log: log}
	for _, r := range s.Lives {
		if r.sameLife(present) {
			continue
		}
		v, err := d.judge(ctx, backends, r, patience)
		if err == nil && v.Standing == Dead {
			_, err = l.removeDeadLife(ctx, v, who)
		}
		if err != nil || v.Standing != Dead {
			left++
		}
	}
	return left
}
