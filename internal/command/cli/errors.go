package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/settings"
	"github.com/spf13/cobra"
)

// The exit statuses. help exit-status tells people of them.
const (
	OK           = 0
	Failed       = 1
	WrongUsage   = 2
	Unsupervised = 3
)

// status returns the exit status for what cmd has returned.
func (a *App) status(cmd *cobra.Command, err error) int {
	switch {
	case err == nil, a.ReaderGone() && cmd.Annotations[AllOrNothing] == "" && errors.Is(err, syscall.EPIPE):
		return OK
	case errors.Is(err, ErrUnsupervised):
		return Unsupervised
	case !a.running || errors.Is(err, ErrUsage) || errors.Is(err, settings.ErrInvalid):
		return WrongUsage
	}
	return Failed
}

// statusNames are the exit statuses' names in errors as JSON.
var statusNames = map[int]string{Failed: "failure", WrongUsage: "usage", Unsupervised: "unsupervised"}

// printError tells on standard error, in one line, why the exit status is not 0.
func (a *App) printError(cmd *cobra.Command, err error, status int, asked bool) {
	text := OneLine(err)
	switch {
	case (a.JSON || asked) && !a.Program.PlainErrors:
		e := json.NewEncoder(a.Stderr)
		e.SetEscapeHTML(false)
		_ = e.Encode(struct {
			Error   string `json:"error"`
			Kind    string `json:"kind"`
			Status  int    `json:"exit_status"`
			Command string `json:"command"`
		}{text, statusNames[status], status, cmd.CommandPath()})
	case status == WrongUsage && !errors.Is(err, settings.ErrInvalid):
		fmt.Fprintf(a.Stderr, "%s: %s\nTry '%s --help'.\n", a.Program.Name, text, a.Program.Name)
	default:
		fmt.Fprintf(a.Stderr, "%s: %s\n", a.Program.Name, text)
	}
}

// OneLine joins the lines of an error, which may be several errors or cobra's suggestions.
func OneLine(err error) string {
	var lines []string
	for l := range strings.Lines(err.Error()) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "; ")
}

// ErrUsage is of arguments that only a command itself can judge.
var ErrUsage = errors.New("wrong usage")

// ErrProblems makes the exit status 1; what is wrong has been said.
var ErrProblems = errors.New("something is wrong: see above")

// ReaderGone reports whether who read the command's output has closed it.
func (a *App) ReaderGone() bool {
	o, ok := a.Stdout.(*output)
	return ok && o.gone.Load()
}

// ErrUnsupervised makes the exit status 3: a probe, as status, ls and ps are, tells it from a failure.
var ErrUnsupervised = errors.New("no supervisor lives")

// ErrIfUnsupervised returns the error of a command that looks at an instance: what it printed is right, but if no process supervises the
// instance its exit status says so.
func ErrIfUnsupervised(st dsm.Status, err error) error {
	switch {
	case errors.Is(err, dsm.ErrNoInstance):
		return fmt.Errorf("%w: %w", ErrUnsupervised, err)
	case err == nil && !st.Supervised && !st.Left.IsZero():
		return fmt.Errorf("%w in %s: process %d has left it to the next one, which adopts the sessions and what is pinned",
			ErrUnsupervised, st.Dir, st.Supervisor)
	case err == nil && !st.Supervised:
		return fmt.Errorf("%w in %s: process %d is dead; a start adopts the sessions", ErrUnsupervised, st.Dir, st.Supervisor)
	}
	return err
}
