package instance

import (
	"time"

	"github.com/godsm/godsm/control"
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

// Deserted reports whether no session lives here any more, and no supervisor either. It waits up to patience for killed
// processes to release their witness. It takes no lock: a supervisor that comes to take over would find the directory's
// lock held.
func (b *Books) Deserted(patience time.Duration) bool {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		n, err := b.Living()
		if err != nil || n == 0 && !b.Supervised() {
			return err == nil
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Foremost reports whether no session lives in a row below the member's.
func (m *Member) Foremost() bool {
	list, err := m.Books.Table.Processes()
	for _, p := range list {
		if p.Row > control.SupervisorRow && p.Row < m.Self.Row() && m.Books.Roll.Held(p.Row) {
			return false
		}
	}
	return err == nil
}
