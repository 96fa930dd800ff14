package shm

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"
	"weak"

	"github.com/godsm/godsm/internal/errkind"
)

// places are the address ranges of this process that have a view, by address. They do not overlap.
var places struct {
	sync.RWMutex
	list []place
}

type place struct {
	from, to uintptr // to is the first byte behind it
	view     weak.Pointer[View]
	late     func(at int) error // of Explain; nil: the bytes are accessible
}

// over is the view of bytes whose view has ended and is not referred to any more.
var over = func() *View {
	v := new(View)
	v.ended.Store(true)
	return v
}()

// NewView returns a view of b, which ViewAt finds by the address of anything in b until Forget. It is for the package
// that maps b; b overlaps no other range that has a view.
func NewView(b []byte) *View { return (*View)(nil).Over(b) }

// Over is NewView for bytes whose view ends when v ends, or earlier, as with Sub.
func (v *View) Over(b []byte) *View {
	c := v.Sub()
	if len(b) == 0 {
		return c
	}
	p := rangeOf(b)
	p.view = weak.Make(c)
	places.Lock()
	defer places.Unlock()
	places.list = slices.Insert(places.list, firstBehindLocked(p.from), p)
	return c
}

// Explain says of the range b, as it was given to NewView, that it is about to become inaccessible, and what Fault is to
// say of an access to its byte at; a nil late says that it has not.
func Explain(b []byte, late func(at int) error) {
	if len(b) == 0 {
		return
	}
	p := rangeOf(b)
	places.Lock()
	defer places.Unlock()
	if i := firstBehindLocked(p.from); i < len(places.list) && places.list[i].from == p.from {
		places.list[i].late = late
	}
}

// Fault returns an error that matches ErrClosed if r, which was recovered from a panic, is a fault in bytes whose view
// has ended and that were made inaccessible, which an instance does in checked mode. It names the lines that attached
// and detached the segment. It is nil for every other panic. A fault is a panic only in a goroutine that has said
// debug.SetPanicOnFault(true).
func Fault(r any) error {
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		return nil
	}
	places.RLock()
	i := firstBehindLocked(f.Addr())
	if i == len(places.list) || f.Addr() < places.list[i].from || places.list[i].late == nil {
		places.RUnlock()
		return nil
	}
	late, at := places.list[i].late, int(f.Addr()-places.list[i].from)
	places.RUnlock()
	return errkind.As(ErrClosed, fmt.Errorf("%w (%w)", late(at), error(f)))
}

// Forget takes the range b, as it was given to NewView, from what ViewAt finds. It is called before b is unmapped.
func Forget(b []byte) {
	if len(b) == 0 {
		return
	}
	p := rangeOf(b)
	places.Lock()
	defer places.Unlock()
	if i := firstBehindLocked(p.from); i < len(places.list) && places.list[i].from == p.from {
		places.list = slices.Delete(places.list, i, i+1)
	}
}

// ViewAt returns the view of the bytes that p points to, nil if they have none. It is for structures that are made on a
// word whose region is not known, such as the locks of package shmsync, and takes about 30 ns.
func ViewAt[T any](p *T) *View {
	return viewAt(uintptr(unsafe.Pointer(p)))
}

func viewAt(addr uintptr) *View {
	places.RLock()
	defer places.RUnlock()
	i := firstBehindLocked(addr)
	if i == len(places.list) || addr < places.list[i].from {
		return nil
	}
	if v := places.list[i].view.Value(); v != nil {
		return v
	}
	return over
}

// firstBehindLocked returns the index of the first range that ends behind addr. The caller holds the lock of places.
func firstBehindLocked(addr uintptr) int {
	i, _ := slices.BinarySearchFunc(places.list, addr, func(p place, addr uintptr) int {
		if p.to <= addr {
			return -1
		}
		return 1
	})
	return i
}

func rangeOf(b []byte) place {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return place{from: from, to: from + uintptr(len(b))}
}
