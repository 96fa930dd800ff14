package shm

import (
	"slices"
	"sync"
	"unsafe"
	"weak"
)

// places are the address ranges of this process that have a view, by address. They do not overlap.
var places struct {
	sync.RWMutex
	list []place
}

type place struct {
	from, to uintptr // to is the first byte behind it
	view     weak.Pointer[View]
}

// over is the view of bytes whose view has ended and is not referred to any more.
var over = func() *View {
	v := new(View)
	v.ended.Store(true)
	return v
}()

// NewView returns a view of b, which ViewAt finds by the address of anything in b until Forget. It is for the package
// that maps b; b overlaps no other range that has a view.
func NewView(b []byte) *View {
	v := new(View)
	if len(b) == 0 {
		return v
	}
	p := rangeOf(b)
	p.view = weak.Make(v)
	places.Lock()
	defer places.Unlock()
	places.list = slices.Insert(places.list, firstBehind(p.from), p)
	return v
}

// Forget takes the range b, as it was given to NewView, from what ViewAt finds. It is called before b is unmapped.
func Forget(b []byte) {
	if len(b) == 0 {
		return
	}
	p := rangeOf(b)
	places.Lock()
	defer places.Unlock()
	if i := firstBehind(p.from); i < len(places.list) && places.list[i].from == p.from {
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
	i := firstBehind(addr)
	if i == len(places.list) || addr < places.list[i].from {
		return nil
	}
	if v := places.list[i].view.Value(); v != nil {
		return v
	}
	return over
}

// firstBehind returns the index of the first range that ends behind addr. It runs under the lock of places.
func firstBehind(addr uintptr) int {
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
