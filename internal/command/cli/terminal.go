package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether w is a terminal that can show progress.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// Width returns how many columns standard output has; 0 if it is no terminal, and lines may have any length.
func (a *App) Width() int {
	if a.File == nil || !term.IsTerminal(int(a.File.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(a.File.Fd()))
	if err != nil || width < 20 { // nothing that a table could be fitted to
		return 0
	}
	return width
}

// Colours reports whether what is printed on standard output may be coloured: as --color says, or on a terminal without
// NO_COLOR.
func (a *App) Colours() bool {
	switch a.color {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && a.File != nil && term.IsTerminal(int(a.File.Fd()))
}
