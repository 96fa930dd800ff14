package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/godsm/godsm/internal/sys/atomicfile"
)

// The grammar of dsm.conf is postgresql.conf's: one `name = value` a line, the equals sign optional, a value
// quoted by single quotes unless it is a simple word or number, a quote inside doubled or behind a
// backslash, # for the rest of a line.

type line struct{ name, value, where string }

func readFile(path string) ([]line, error) {
	text, err := atomicfile.ReadSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(path, string(text))
}

// parse reads the text of a file; path is for messages. All faults are reported, and the lines that are right returned.
func parse(path, text string) (lines []line, err error) {
	var faults []error
	for i, raw := range strings.Split(text, "\n") {
		where := fmt.Sprintf("%s:%d", path, i+1)
		name, value, empty, err := parseLine(strings.TrimSuffix(raw, "\r"))
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w; a line is: name = value", where, err))
		case !empty:
			lines = append(lines, line{name, value, where})
		}
	}
	return lines, errors.Join(faults...)
}

func parseLine(s string) (name, value string, empty bool, err error) {
	s = skipBlank(s)
	if s == "" {
		return "", "", true, nil
	}
	name, s = takeWord(s, isName)
	if name == "" {
		return "", "", false, fmt.Errorf("%q does not begin with a name", s)
	}
	s = skipBlank(s)
	s = skipBlank(strings.TrimPrefix(s, "="))
	if strings.HasPrefix(s, "'") {
		value, s, err = takeQuoted(s[1:])
		if err != nil {
			return "", "", false, err
		}
	} else if value, s = takeWord(s, isSimple); value == "" {
		return "", "", false, fmt.Errorf("%s has no value", name)
	}
	if s = skipBlank(s); s != "" {
		return "", "", false, fmt.Errorf("%q follows the value of %s (quote the value if it belongs to it)", s, name)
	}
	return name, value, false, nil
}

// skipBlank drops blanks, and a comment if that comes next.
func skipBlank(s string) string {
	s = strings.TrimLeft(s, " \t\v\f")
	if strings.HasPrefix(s, "#") {
		return ""
	}
	return s
}

func takeWord(s string, in func(byte) bool) (w, rest string) {
	i := 0
	for i < len(s) && in(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isName(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isSimple(c byte) bool { return isName(c) || strings.IndexByte(".:/-+", c) >= 0 || c >= 0x80 }

// takeQuoted reads up to the closing quote.
func takeQuoted(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'', s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '\'':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("the quote is not closed")
}
