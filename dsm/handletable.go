package dsm

// table finds a session's holdings by their handles. The low bits of a handle are its row in the books, so most lists
// have one holding; a map would be twice as slow. It owns nothing: a holding that leaves it is spare, or its
// goroutine's. All methods are called under Session.mu.
type handleTable [1024]*holding

// list returns the list in which the holding of h is, if there is one.
func (t *handleTable) list(h Handle) **holding { return &t[h%Handle(len(t))] }

// find returns the holding of h, nil if there is none.
func (t *handleTable) find(h Handle) *holding {
	x := *t.list(h)
	for x != nil && x.handle != h {
		x = x.next
	}
	return x
}

// add puts h in front of its list.
func (t *handleTable) add(h *holding) {
	at := t.list(h.handle)
	h.next, *at = *at, h
}

// remove takes h out of its list, if it is in it.
func (t *handleTable) remove(h *holding) {
	for at := t.list(h.handle); *at != nil; at = &(*at).next {
		if *at == h {
			*at, h.next = h.next, nil
			return
		}
	}
}
