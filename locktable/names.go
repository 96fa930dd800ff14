package locktable

import "sync"

// names are the Names of a table that have a pin, or are about to.
type names struct {
	mu   sync.Mutex
	list map[*Name]struct{}
}

func (ns *names) add(n *Name) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.list == nil {
		ns.list = map[*Name]struct{}{}
	}
	ns.list[n] = struct{}{}
}

func (ns *names) remove(n *Name) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	delete(ns.list, n)
}

// settle waits, after the end of the table's view, until no goroutine uses a head without another right to it than a pin.
func (ns *names) settle() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for n := range ns.list {
		n.settle()
	}
}
