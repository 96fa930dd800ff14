package cli

// Tint says what a Cell means. Colours show it where there are any.
type Tint int

// The tints.
const (
	Plain Tint = iota
	Heading
	Good
	Odd // worth a look
	Bad
	Faint
)

var escapes = [...]string{Plain: "", Heading: "\x1b[1m", Good: "\x1b[32m", Odd: "\x1b[33m", Bad: "\x1b[31m", Faint: "\x1b[2m"}

// Paint returns text as a terminal shows it in colour.
func (t Tint) Paint(text string) string {
	if t == Plain || text == "" {
		return text
	}
	return escapes[t] + text + "\x1b[0m"
}

// Paint returns text, in the colour of t if there are colours.
func (a *App) Paint(t Tint, text string) string {
	if !a.Colours() {
		return text
	}
	return t.Paint(text)
}
