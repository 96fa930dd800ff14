package parallel

import (
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// A ticket makes a new process a worker. It comes in the environment and is taken out of it at once, so that
// what the worker starts does not join by accident. The nonce comes again as the first thing through the pipe: an
// environment that was copied to some other process leads nowhere.
const ticketVariable = "DSM_TICKET"

const ticketVersion = 4

// maxFiles bounds Options.Files.
const maxFiles = 1000

type ticket struct {
	Version    int       `json:"version"`
	Dir        string    `json:"dir"`
	Instance   uuid.UUID `json:"instance"`
	Generation uint64    `json:"generation"`
	Nonce      string    `json:"nonce"`
	Orders     uint64    `json:"orders"`  // descriptor or handle to read from
	Reports    uint64    `json:"reports"` // and to write to
	Files      int       `json:"files"`   // how many descriptors follow these: Options.Files
}

func newTicketNonce() string { return rand.Text() }

func (t ticket) String() string {
	b, _ := json.Marshal(t)
	return string(b)
}

func parseTicket(s string) (t ticket, err error) {
	if err := json.Unmarshal([]byte(s), &t); err != nil {
		return t, fmt.Errorf("%s is not a ticket: %w", ticketVariable, err)
	}
	if t.Version != ticketVersion || t.Dir == "" || t.Generation == 0 || t.Nonce == "" || t.Orders == t.Reports ||
		t.Files < 0 || t.Files > maxFiles {
		return t, fmt.Errorf("%s is not a ticket of version %d", ticketVariable, ticketVersion)
	}
	return t, nil
}

// order is what a leader sends, a JSON value each: first the greeting, then the work, then
// perhaps a cancellation. The end of the pipe is the end of the leader.
type order struct {
	Nonce    string            `json:"nonce,omitempty"` // this is the greeting
	Settings map[string]string `json:"settings,omitempty"`
	LogLevel zerolog.Level     `json:"log_level,omitempty"`
	Task     string            `json:"task,omitempty"`
	Queue    dsm.Handle        `json:"queue,omitempty"`
	Attempt  int               `json:"attempt,omitempty"`
	Index    int               `json:"index,omitempty"`
	Count    int               `json:"count,omitempty"` // not 0: this is the work
	Arg      json.RawMessage   `json:"arg,omitempty"`
	Cancel   bool              `json:"cancel,omitempty"`
}

// report is what a worker sends: hello, that it is ready or not taking part, and at last that it is done.
type report struct {
	Hello     bool   `json:"hello,omitempty"` // the process has called Main
	Ready     bool   `json:"ready,omitempty"`
	Full      bool   `json:"full,omitempty"` // no row in the process table
	Done      bool   `json:"done,omitempty"`
	Cancelled bool   `json:"cancelled,omitempty"` // Error says no more than that it was told to stop
	Error     string `json:"error,omitempty"`
	Kind      string `json:"kind,omitempty"` // of Error

	Peer  shmsync.Peer `json:"peer,omitzero"`   // with Ready: whose death ends the queue
	Lines []string     `json:"lines,omitempty"` // of the log, that came too late for the queue
}

// error returns the error that a worker reported. What it says is the worker's, and bounded here too.
func (r report) error(worker int) *Error {
	return &Error{Worker: worker, Text: excerpt.Of(r.Error, excerpt.Text), kind: errkind.Named(r.Kind)}
}
