package instance

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/shm"
)

// The books' view lets mailboxes and other words in them be used until Close: it ends, which wakes who sleeps at a word,
// and Close unmaps when the last one has left.

// bytes returns the control segment as the table sees it.
func (b *Books) bytes(access dsmimpl.Access) shm.Region {
	r := shm.NewRegion(b.mapping.Bytes)
	if access == dsmimpl.ReadWrite {
		b.view = b.view.Sub()
	}
	return r.Under(b.view)
}

func (b *Books) endView() {
	if b.view == nil {
		return
	}
	b.view.End()
	left := make(chan struct{})
	b.view.Drain(func() { close(left) })
	<-left
}
