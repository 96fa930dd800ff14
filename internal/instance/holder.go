package instance

import (
	"fmt"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/godsm/godsm/internal/sys/liveness"
)

// Holder is the process that holds the directory's lock, as the file supervisor names it.
type Holder struct {
	Pid         int       `json:"pid"`
	Application string    `json:"application"`
	Since       time.Time `json:"since"`
}

// HolderOf returns a process as it is named in the file supervisor.
func HolderOf(w control.Who) Holder { return Holder{w.Pid, w.Application, w.Since} }

// HasHolder reports whether a process holds the directory's lock: its supervisor, or one that clears it.
func (d *Dir) HasHolder() bool {
	unlock, held, err := d.tryLock()
	if err == nil && !held {
		unlock()
	}
	return held
}

func (d *Dir) holder() string {
	var h Holder
	if err := atomicfile.ReadIn(d.Folder, "supervisor", &h); err != nil {
		return "an unknown process"
	}
	s := fmt.Sprintf("process %d (%s)", h.Pid, excerpt.Of(h.Application, excerpt.Value))
	if liveness.Stopped(h.Pid) {
		s += ", which is stopped"
	}
	return s
}
