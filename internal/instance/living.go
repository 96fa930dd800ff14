package instance

import (
	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/sys/liveness"
)

// Held reports for each of the processes whether its row's witness is held.
func (b *Books) Held(list []control.ProcessInfo) []bool {
	rows := make([]int, len(list))
	for i, p := range list {
		rows[i] = p.Row
	}
	return b.Roll.HeldRows(rows)
}

// Living counts the sessions that live, the supervisor not counted.
func (b *Books) Living() (n int, err error) {
	list, err := b.Table.Processes()
	held := b.Held(list)
	for i, p := range list {
		if p.Row != control.SupervisorRow && held[i] {
			n++
		}
	}
	return n, err
}

// noSessionIsLiving reports whether no process of this directory lives in a life.
func (d *Dir) noSessionIsLiving(r Record) bool {
	roll, err := liveness.OpenIn(d.Folder, r.membersFile())
	if err != nil {
		return refusedBySystem(err) == nil
	}
	defer roll.Close()
	n, err := countHeldWitnesses(roll)
	return n == 0 && err == nil
}
