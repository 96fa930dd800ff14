package waitqueue

// HeadCopy is a Head at a moment.
type HeadCopy struct {
	Word        uint64
	First, Last uint32
}

// Copy returns what the head is now.
func (h *Head) Copy() HeadCopy { return HeadCopy{h.Word.Load(), h.first.Load(), h.last.Load()} }

// Restore makes the head what it was.
func (h *Head) Restore(c HeadCopy) {
	h.Word.Store(c.Word)
	h.first.Store(c.First)
	h.last.Store(c.Last)
}

// RecordCopy is a Record at a moment.
type RecordCopy struct {
	Word, Head, Ticket, Since, Called, Extra uint64
	Passes, Next, Prev                       uint32
}

// Copy returns what the record is now.
func (r *Record) Copy() RecordCopy {
	c := RecordCopy{r.Word.Load(), r.Head.Load(), r.Ticket.Load(), r.Since.Load(), r.called.Load(), r.Extra.Load(),
		r.passes.Load(), r.next.Load(), r.prev.Load()}
	if c.Word == 0 { // what is left of a free record means nothing
		return RecordCopy{}
	}
	return c
}

// Restore makes the record what it was.
func (r *Record) Restore(c RecordCopy) {
	r.Word.Store(c.Word)
	r.Head.Store(c.Head)
	r.Ticket.Store(c.Ticket)
	r.Since.Store(c.Since)
	r.called.Store(c.Called)
	r.Extra.Store(c.Extra)
	r.passes.Store(c.Passes)
	r.next.Store(c.Next)
	r.prev.Store(c.Prev)
}
