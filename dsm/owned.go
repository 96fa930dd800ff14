package dsm

import (
	"github.com/godsm/godsm/internal/leaksite"
	"github.com/godsm/godsm/resowner"
)

// MoveTo makes another owner the one that ends the attachment: Session.Owner, or nil, for session lifetime, a narrower
// one for less. If the new owner has ended, or the old one is just ending the attachment, it is ErrClosed, and
// nothing changes.
func (g *Segment) MoveTo(owner *resowner.Owner) error {
	if g.attachment == nil {
		return g.fail("move", g.errDetachedAt())
	}
	if owner == nil {
		owner = g.sessionOf().owner
	}
	err := owner.Reserve()
	if err == nil {
		err = g.moveTo(owner)
	}
	return g.fail("move", err)
}

// moveTo takes the attachment from its owner and gives it to another. In between it has none; attachment.mu keeps
// Detach out for that time. If both owners have ended, the Segment is detached in another goroutine, since Detach takes
// the lock that is held here.
func (g *Segment) moveTo(owner *resowner.Owner) error {
	a, is := g.lockAttached()
	if !is {
		return g.errDetachedAt()
	}
	defer a.mu.Unlock()
	// Forget is what decides between this call and an owner that ends: only one of them gets the item.
	old := a.item.Owner()
	if !a.item.Forget() {
		return ErrClosed // its owner is just ending it
	}
	err := leaksite.Remember(owner, &a.item, (*owned)(g), 2)
	if err != nil && leaksite.Remember(old, &a.item, (*owned)(g), 2) != nil {
		go g.Detach() // both have ended meanwhile
	}
	return err
}

// owned is a Segment as its owner sees it: something to release.
type owned Segment

func (o *owned) Release() error { return (*Segment)(o).Detach() }

func (o *owned) String() string { return "segment " + (*Segment)(o).Handle().String() }
