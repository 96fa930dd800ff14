package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/google/uuid"
)

// Handover is the file left.LIFE: a supervisor has handed its instance over to the next one. It makes the life that it
// names count as one in which a process lives, until the machine ends or the next supervisor has adopted it: sessions
// may come and go, and a start adopts it even if no session is left.
//
// The supervisor that leaves writes it before it frees its row, and the one that adopts removes it when it has the
// row. So a supervisor that dies in between hands over too.
type Handover struct {
	Life        uuid.UUID         `json:"life"`
	Boot        string            `json:"boot"`
	Dir         liveness.Identity `json:"dir"`
	Reclaims    uint32            `json:"reclaims"` // that the supervisor knew of
	Pid         int               `json:"pid"`
	Application string            `json:"application"`
	Since       time.Time         `json:"since"`
}

// String names the supervisor and the moment.
func (h Handover) String() string {
	return fmt.Sprintf("process %d (%s) left it to the next supervisor at %s", h.Pid, excerpt.Of(h.Application, excerpt.Value),
		h.Since.Format(time.DateTime))
}

const handoverPrefix = "left."

func (r Record) handover() string { return handoverPrefix + dsmimpl.LifeText(r.Life) }

// HandOver writes down that this member, the supervisor, leaves the life to the next one. Reclaims is how many deaths it
// knows of.
func (m *Member) HandOver(who control.Who, reclaims uint32) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	h := Handover{
		Life: m.Books.Record.Life, Boot: boot, Dir: m.Books.Dir.Identity(), Reclaims: reclaims, Pid: who.Pid,
		Application: who.Application, Since: time.Now(),
	}
	if err := atomicfile.WriteIn(m.Books.Dir.Folder, m.Books.Record.handover(), h); err != nil {
		return fmt.Errorf("file %s: %w", m.Books.Record.handover(), err)
	}
	failpoint.Hit("instance/handover/written")
	return nil
}

// HandedOver reports whether a life was handed over in this directory, and by which process. In a copy of the
// directory it was not; elsewhere is true there, if the life's memory is not in the directory itself.
func (d *Dir) HandedOver(r Record) (h Handover, is, elsewhere bool) {
	boot, err := bootID()
	if err != nil || boot == "" || atomicfile.ReadIn(d.Folder, r.handover(), &h) != nil || h.Life != r.Life || h.Boot != boot {
		return Handover{}, false, false
	}
	is = h.Dir == d.Identity()
	return h, is, !is && !r.recordIsInOwnDirectory()
}

// TakeOver removes the files left.LIFE: the life that was handed over has been adopted, or has ended. Those that came
// with a copy of another directory stay, for their memory is that one's. The caller holds the directory's lock.
func (d *Dir) TakeOver() error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	boot, _ := bootID()
	for _, name := range names {
		var h Handover
		if !strings.HasPrefix(name, handoverPrefix) ||
			atomicfile.ReadIn(d.Folder, name, &h) == nil && h.Boot == boot && h.Dir != d.Identity() {
			continue
		}
		if err := d.Folder.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	failpoint.Hit("instance/handover/taken")
	return nil
}
