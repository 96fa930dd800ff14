package record

import (
	"bufio"
	"encoding/json"
	"io"
)

// event is one of Chrome's trace-event format. Times are µs.
type event struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Phase    string         `json:"ph"` // b and e: begin and end of a span; i: a moment; C: a counter; M: the name of a process
	Time     float64        `json:"ts"`
	Pid      int            `json:"pid"`
	Tid      int            `json:"tid"`
	ID       int            `json:"id,omitempty"` // of a span: those with one ID are drawn in each other
	Scope    string         `json:"s,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
}

// eventSize is what an event takes in the file, at most, if its names are of usual length.
const eventSize = 400

// writer writes events as an array, an event on a line. An array without its end is whole for viewers, so that what was
// written before a kill can be seen.
type writer struct {
	w       *bufio.Writer
	events  int
	written int64
	err     error // the first
}

func (o *writer) to(w io.Writer) { o.w = bufio.NewWriterSize(w, 64<<10) }

// write writes one event. An error stays, and flush and close return it.
func (o *writer) write(e event) {
	text, err := json.Marshal(e)
	before := ",\n"
	if o.events == 0 {
		before = "[\n"
	}
	if o.err == nil {
		o.err = err
	}
	if o.err != nil {
		return
	}
	o.events++
	o.print(before)
	o.print(string(text))
}

func (o *writer) print(text string) {
	n, err := o.w.WriteString(text)
	o.written += int64(n)
	if o.err == nil {
		o.err = err
	}
}

// flush hands over what was written, so that it is in the file after each look.
func (o *writer) flush() error {
	if o.err == nil {
		o.err = o.w.Flush()
	}
	return o.err
}

// close writes the end of the array.
func (o *writer) close() error {
	if o.err == nil && o.events == 0 {
		o.print("[")
	}
	if o.err == nil {
		o.print("\n]\n")
	}
	return o.flush()
}
