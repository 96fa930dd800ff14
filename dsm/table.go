package dsm

// table finds a session's holdings by their handles. A handle begins with the row of the books, so most lists have
// one holding; a map would be twice as slow.
type table [1024]*holding

func (t *table) list(h Handle) **holding { return &t[h%Handle(len(t))] }

func (t *table) find(h Handle) *holding {
	x := *t.list(h)
	for x != nil && x.handle != h {
		x = x.next
	}
	return x
}

func (t *table) add(h *holding) {
	at := t.list(h.handle)
	h.next, *at = *at, h
}

func (t *table) remove(h *holding) {
	for at := t.list(h.handle); *at != nil; at = &(*at).next {
		if *at == h {
			*at, h.next = h.next, nil
			return
		}
	}
}
