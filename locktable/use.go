package locktable

import (
	"github.com/godsm/godsm/resowner"
)

// use is what the session's owner has of a table: it is closed before its area is detached.
type use struct {
	item  resowner.Item
	table *Table
	at    place
}

// Release closes the table.
func (u *use) Release() error {
	u.table.closeTable()
	opened.Lock()
	defer opened.Unlock()
	if opened.list[u.at] == u.table {
		delete(opened.list, u.at)
	}
	return nil
}

func (u *use) String() string { return "lock table " + u.at.name }
